#!/bin/sh
# Builds the Debian package of the last commit: .deb, .changes and source package go to build/deb/, or to the folder
# that is named. COMMIT in the environment names another commit; DEB_BUILD_OPTIONS goes on to dpkg-buildpackage
# (nocheck leaves the tests out).
#
# The same commit gives the same bytes, whoever builds it, wherever and whenever: what differs between two users or
# two days is set here.
set -eu

cd "$(dirname "$0")/.."
export PATH=/usr/sbin:/usr/bin:/sbin:/bin  # a version manager's python3 breaks debhelper
export LC_ALL=C.UTF-8 TZ=UTC
umask 022

out=${1:-build/deb}
for program in git dpkg-buildpackage dh; do
    command -v $program >/dev/null || {
        echo "make: $program is missing; \`packaging/prepare deb\` installs it" >&2
        exit 1
    }
done
commit=${COMMIT:-HEAD}
git diff --quiet "$commit" || echo "make: what is not committed is not in the package"

told() { git show "$commit:packaging/debian/changelog" | dpkg-parsechangelog -l - -S "$1"; }
version=$(told Version)
upstream=${version%-*}
SOURCE_DATE_EPOCH=$(told Timestamp)
export SOURCE_DATE_EPOCH

mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git -c tar.umask=0022 archive --prefix="postsink-$upstream/" "$commit" | gzip -9n >"$work/postsink_$upstream.orig.tar.gz"
tar -xzf "$work/postsink_$upstream.orig.tar.gz" -C "$work"
cp -R "$work/postsink-$upstream/packaging/debian" "$work/postsink-$upstream/debian"
# The least age that any file of the source package has.
find "$work/postsink-$upstream/debian" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
(cd "$work/postsink-$upstream" && dpkg-buildpackage --no-sign --build=full)
rm -f "$out"/postsink_*
cp "$work"/postsink_* "$out"
echo "The package is $out/postsink_${version}_all.deb"
