# Prints which folders on the way to a folder are missing, then the folders in it, each with the names of its files, then
# where the `hosts.toml` of each leads that is elsewhere.
LC_ALL=C PATH="$PATH:/usr/bin:/bin:/usr/sbin:/sbin"
export LC_ALL PATH
path= rest=${1#/}
while [ -n "$rest" ]; do
    above=${path:-/} path=$path/${rest%%/*}
    case $rest in */*) rest=${rest#*/} ;; *) rest= ;; esac
    if [ ! -e "$path" ] && [ ! -L "$path" ]; then
        if [ -d "$above" ] && [ ! -x "$above" ]; then echo =denied; exit 0; fi
        printf '=missing %s\n' "$path"
    elif [ ! -d "$path" ]; then
        echo =file
        exit 0
    fi
done
if [ -d "$1" ] && { [ ! -r "$1" ] || [ ! -x "$1" ]; }; then echo =denied; exit 0; fi
echo =folders
for folder in "$1"/* "$1"/.[!.]*; do
    [ -d "$folder" ] || continue
    printf '%s/\0' "${folder##*/}"
    for file in "$folder"/* "$folder"/.[!.]*; do
        if [ -e "$file" ] || [ -L "$file" ]; then printf '%s/%s\0' "${folder##*/}" "${file##*/}"; fi
    done
done | base64
echo =links
base=$(readlink -f "$1")
for folder in "$1"/* "$1"/.[!.]*; do
    [ -d "$folder" ] || continue
    name=${folder##*/}
    real=$(readlink -f "$folder/hosts.toml") || continue
    case $real in "$base/$name/hosts.toml") continue ;; "$base"/*) real=$1/${real#"$base"/} ;; esac
    printf '%s/%s\0' "$name" "$real"
done | base64
echo =over
