# The control sockets of daemons that run here, whatever their arguments say of it.
control_sockets() {
    for exe in /proc/[0-9]*/exe; do
        process=${exe%/exe}
        case $(readlink "$exe") in
        /usr/bin/lbctl | "/usr/bin/lbctl (deleted)") ;;
        *) continue ;;
        esac
        # Those of containers are not ours.
        [ "$process/root" -ef / ] || continue
        # Nor are those of people: what they run is theirs to upgrade, and need not be what it looks like. Not the owner of the folder,
        # which is root where a process lets nobody look at it.
        [ "$(awk '$1 == "Uid:" { print $2 }' "$process/status")" -lt 1000 ] || continue
        tr '\0' '\n' <"$process/cmdline" | awk -v cwd="$(readlink "$process/cwd")" '
            NR == 2 && $0 != "run" { exit }
            NR == 2 { runs = 1; folder = "/run/lbctl" }
            wants == "control" { control = $0 }
            wants == "folder" { folder = $0 }
            { wants = "" }
            $0 == "--control" { wants = "control" }
            $0 == "--runtime-dir" { wants = "folder" }
            sub(/^--control=/, "") { control = $0 }
            sub(/^--runtime-dir=/, "") { folder = $0 }
            END {
                if (!runs) exit
                if (control == "") control = folder "/control.sock"
                print (control ~ /^\//) ? control : cwd "/" control
            }'
    done 2>/dev/null | sort -u
}

# The program that runs is the one before: the new one takes over from it, and no connection is lost. Where it can't, the
# one before goes on, and that is no failure of the installation.
upgrade_what_runs() {
    control_sockets | while read -r socket; do
        [ -S "$socket" ] || continue
        lbctl upgrade --control "$socket" || {
            echo "lbctl: the version before goes on serving ($socket). To start the new one: systemctl restart lbctl," >&2
            echo "lbctl: which gives the addresses to the other node first." >&2
        }
    done
}
