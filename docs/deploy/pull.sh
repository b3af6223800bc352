#!/bin/sh
# The variant which fits a budget, with curl and sha256sum alone: pull.sh MODEL BUDGET FOLDER
#   HF_ENDPOINT=http://hub:8000 sh pull.sh alice/my-model memory=512MB,latency=20ms model
# Ends with 0 when every file is there with its sha256, with 3 when nothing fits, else with what curl or sha256sum say.
set -eu
model=$1 budget=$2 folder=$3
hub=${HF_ENDPOINT:?set HF_ENDPOINT to the address of the hub}
get() { curl --fail --silent --show-error --location ${HF_TOKEN:+--header "Authorization: Bearer $HF_TOKEN"} "$@"; }

# A budget is a revision: the hub answers with the commit, and from here on nothing but that commit is asked for.
head=$(curl --silent --head ${HF_TOKEN:+--header "Authorization: Bearer $HF_TOKEN"} "$hub/$model/resolve/fit@$budget/fithub.json" | tr -d '\r')
commit=$(printf '%s\n' "$head" | sed -n 's/^[Xx]-[Rr]epo-[Cc]ommit: //p')
if [ -z "$commit" ]; then
    printf '%s\n' "$head" | sed -n 's/^[Xx]-[Ee]rror-[Mm]essage: //p' >&2
    exit 3
fi
mkdir -p "$folder"
get --output "$folder/fithub.json" "$hub/$model/resolve/$commit/fithub.json"

# "files" holds path, sha256, size_bytes of every file which a loader needs, one a line.
sed -n '/^  "files": \[/,/^  \]/p' "$folder/fithub.json" |
    sed -n 's/^ *"path": "\(.*\)",$/\1/p; s/^ *"sha256": "\([0-9a-f]*\)",$/\1/p' |
    while IFS= read -r path && IFS= read -r sha256; do
        mkdir -p "$folder/$(dirname "$path")"
        get --output "$folder/$path" "$hub/$model/resolve/$commit/$path"
        printf '%s  %s\n' "$sha256" "$path"
    done >"$folder/SHA256SUMS"
cd "$folder"
sha256sum --check --quiet SHA256SUMS
echo "$commit"
