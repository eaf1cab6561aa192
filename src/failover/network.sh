# Nobody of this host reaches MariaDB, or its check, on $OLD any more. The rules are the kernel's; `replaced` outlives a boot.
# Ends of connections get through, so that $OLD learns that nobody receives from it.
family=ip
case $OLD in *:*) family=ip6 ;; esac
nft -f - <<NFT
table inet hactl_fence
delete table inet hactl_fence
table inet hactl_fence {
    chain output {
        type filter hook output priority -10; policy accept;
        $family daddr $OLD tcp dport { $PORTS } tcp flags & (fin | rst) == 0 reject with tcp reset
    }
    chain input {
        type filter hook input priority -10; policy accept;
        $family saddr $OLD tcp dport { $PORTS } reject with tcp reset
    }
}
NFT
echo "refuses to talk to $OLD"
