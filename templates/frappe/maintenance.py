"""Switch Frappe's maintenance mode and the pause of its scheduler for an update, as `bench update` does, and back to what
they were before. Run by hactl with the bench's python, in its `sites` folder: `maintenance.py on|off SITE...`

Each file is replaced atomically, since Frappe's own commands write it in place: a power cut would leave half of it.
"""

import json
import os
import sys
import tempfile

# A host that waits for this one knows them, too: templates/files/follow.tera.
KEYS = ("maintenance_mode", "pause_scheduler")
BEFORE = "hactl_before_update"


def switched(config, on):
    if on:
        config.setdefault(BEFORE, {key: config[key] for key in KEYS if key in config})
        config.update(dict.fromkeys(KEYS, 1))
    elif BEFORE in config:
        before = config.pop(BEFORE)
        for key in KEYS:
            config.pop(key, None)
        config.update(before)
    return config


def replace(path, config):
    handle, new = tempfile.mkstemp(prefix=".site_config.", dir=os.path.dirname(path))
    with os.fdopen(handle, "w") as file:
        json.dump(config, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    os.rename(new, path)


def main():
    on = sys.argv[1] == "on"
    flushed = on
    for site in sys.argv[2:]:
        path = os.path.join(site, "site_config.json")
        try:
            with open(path) as file:
                config = json.load(file)
        except FileNotFoundError:
            continue
        replace(path, switched(config, on))
        if not flushed:
            import frappe

            frappe.init(site=site)
            frappe.cache.flushall()
            frappe.destroy()
            flushed = True


if __name__ == "__main__":
    main()
