# Prints the names in a folder, each with a `/` behind it, as base64.
LC_ALL=C PATH="$PATH:/usr/bin:/bin:/usr/sbin:/sbin"
export LC_ALL PATH
if [ ! -e "$1" ] && [ ! -L "$1" ]; then
    above=${1%/*}
    while [ -n "$above" ] && [ ! -e "$above" ] && [ ! -L "$above" ]; do above=${above%/*}; done
    if [ ! -d "${above:-/}" ] || [ -x "${above:-/}" ]; then echo =absent; else echo =denied; fi
    exit 0
fi
[ -d "$1" ] || { echo =file; exit 0; }
{ [ -r "$1" ] && [ -x "$1" ]; } || { echo =denied; exit 0; }
echo =folder
for path in "$1"/* "$1"/.[!.]* "$1"/..?*; do
    if [ -e "$path" ] || [ -L "$path" ]; then printf '%s/' "${path##*/}"; fi
done | base64
echo =over
