# Whether a volume can be mounted, and what GlusterFS left on this host's disk; its daemon need not run.
[ -c /dev/fuse ] || modprobe -qn fuse 2>/dev/null || echo 'no fuse'
[ ! -r /var/lib/glusterd/glusterd.info ] || sed -n 's/^UUID=/uuid /p' /var/lib/glusterd/glusterd.info
for one in /var/lib/glusterd/vols/*/info; do
    [ ! -e "$one" ] || { one=${one%/info} && echo "volume ${one##*/}"; }
done
for one in /var/lib/glusterd/peers/*; do
    [ ! -e "$one" ] || sed -n 's/^uuid=/knows /p; s/^hostname[0-9]*=/at /p' "$one"
done
[ ! -e /var/lib/hactl/gluster/copy/brick/.glusterfs ] || echo copy
