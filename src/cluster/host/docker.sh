# Tells how dockerd runs, and what would start it anew: docker.sh SOCKET. Texts as base64, marks begin with `=`.
LC_ALL=C PATH="$PATH:/usr/bin:/bin:/usr/sbin:/sbin"
export LC_ALL PATH
case $1 in /run/user/*) user=--user own= ;; *) user= own=$(readlink /proc/self/ns/pid) ;; esac
for comm in $(grep -lx dockerd /proc/[0-9]*/comm 2>/dev/null); do
    process=${comm%/comm}
    # One in a container is another daemon. Rootless ones may have their own processes as well.
    namespace=$(readlink "$process/ns/pid") || namespace=$own
    [ -z "$own" ] || [ "$namespace" = "$own" ] || continue
    words=$(base64 <"$process/cmdline" 2>/dev/null) && [ -n "$words" ] || continue
    echo =process
    echo "$words"
    echo =home
    # Of its environment only where its home is: the rest may hold secrets.
    tr '\0' '\n' <"$process/environ" 2>/dev/null | grep -E '^(HOME|XDG_CONFIG_HOME)=' | base64
done
unit=$(systemctl $user show -p ExecStart,EnvironmentFiles,Environment docker.service 2>/dev/null)
if [ -n "$unit" ]; then
    echo =unit
    printf '%s\n' "$unit" | base64
    printf '%s\n' "$unit" | sed -n 's/^EnvironmentFiles=\(.*\) (ignore_errors=.*$/\1/p' | while IFS= read -r file; do
        if [ -f "$file" ]; then
            echo =environment
            base64 <"$file"
        fi
    done
fi
echo =over
