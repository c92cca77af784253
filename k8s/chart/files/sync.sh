# Copies SOURCE to TARGET whole or not at all: only what agrees with SHA256SUMS, which was uploaded
# last, gets its name. A container that is started again goes on where it was.
set -eu
if [ -e "$TARGET" ]; then exit 0; fi
incoming="$TARGET.incoming"
rclone sync "$SOURCE" "$incoming" --transfers 16 --stats 10s --stats-one-line --stats-log-level NOTICE
cd "$incoming"
if [ ! -s SHA256SUMS ] || [ ! -d triton ]; then
  echo "$SOURCE is not a whole export: it needs the folder triton and, uploaded last, SHA256SUMS" >&2
  exit 1
fi
if ! wrong=$(sha256sum -c SHA256SUMS 2>/dev/null); then
  echo "$SOURCE does not agree with its SHA256SUMS: $(echo "$wrong" | grep -v ': OK$' | head -n 1)" >&2
  exit 1
fi
mv "$incoming" "$TARGET"
