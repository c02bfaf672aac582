"""The package is built, the same each time, and holds what a package should."""

from __future__ import annotations

import re

from tests.package.suites import Suite, sources

# Of the tests with real programs those where versions differ most: of psycopg, PostgreSQL, SQLite.
WITH_POSTGRESQL = (
    *(f"postgres/test_{name}.py" for name in "connections drain person roles schema upgrade values views".split()),
    "test_person.py", "test_upgrade.py",
)  # fmt: skip
ODD = "TZ=Pacific/Chatham LC_ALL=tr_TR.UTF-8 DEB_BUILD_OPTIONS=nocheck"


def tests_pass_under_debians_own_python(suite: Suite) -> None:
    """They are run while the package is built, with Debian's own cryptography, psycopg, daemon and yaml."""
    names = {path.name.rpartition(".")[2] for path in suite.package.iterdir()}
    assert {"deb", "changes", "dsc", "gz", "xz"} <= names
    said = suite.inside(
        suite.building, "mkdir /tested\ncd /src\npackaging/build-deb.sh /tested\ncmp /out/*.deb /tested/*.deb",
        None, *sources(), f"--bind-ro={suite.package}:/out",
    )  # fmt: skip
    passed = re.search(r"^(\d+) passed", said, re.M)
    assert passed and int(passed[1]) > 1000, said[-3000:]


def tests_pass_with_debians_own_postgresql(suite: Suite) -> None:
    """Rows reach the PostgreSQL of that release by the psycopg of that release; none of these tests is skipped."""
    tests = " ".join(f"tests/integration/{name}" for name in WITH_POSTGRESQL)
    said = suite.inside(
        suite.proving,
        f"""
        git clone -q --no-checkout /src /tested
        cd /tested
        git checkout -q --detach "$COMMIT"
        CI=true python3 -m pytest -q -p no:cacheprovider {tests}
        """,
        None, *sources(),
    )  # fmt: skip
    passed = re.search(r"^(\d+) passed in", said, re.M)
    assert passed and int(passed[1]) > 200, said[-3000:]


def the_same_commit_gives_the_same_bytes(suite: Suite) -> None:
    """Whoever builds it, under which umask, in which zone, language and folder; from the source package alone, too."""
    suite.inside(
        suite.building,
        f"""
        mkdir /second /third
        chown builder /second /third
        cd /src
        runuser -u builder -- env {ODD} sh -c 'umask 077; packaging/build-deb.sh /second'
        for file in /out/*.deb /out/*.dsc /out/*.xz /out/*.gz; do cmp "$file" "/second/${{file##*/}}"; done
        runuser -u builder -- env {ODD} sh -ec '
            umask 027
            cd /third
            dpkg-source -x /out/*.dsc elsewhere
            cd elsewhere
            dpkg-buildpackage --no-sign --build=binary'
        cmp /out/*.deb /third/*.deb
        """,
        None, *sources(), f"--bind-ro={suite.package}:/out",
    )  # fmt: skip


def it_holds_what_the_repository_holds(suite: Suite) -> None:
    """Program, schema and snippets, each file as it is committed, and nothing else beside them."""
    suite.inside(
        suite.building,
        """
        dpkg-deb -x /out/*.deb /unpacked
        mkdir /committed
        git -C /src archive "$COMMIT" sink sql syslog-conf | tar -x -C /committed
        mv /committed/sql /committed/syslog-conf /committed/sink
        find /committed -name README.md -delete
        diff -r /committed /unpacked/usr/share/postsink
        """,
        None, *sources(), f"--bind-ro={suite.package}:/out",
    )  # fmt: skip


def lintian_is_content(suite: Suite) -> None:
    """No errors, no warnings."""
    suite.inside(
        suite.building, "runuser -u builder -- lintian --pedantic --fail-on error,warning /out/*.changes",
        None, f"--bind-ro={suite.package}:/out",
    )  # fmt: skip


def manual_and_completions_are_sound(suite: Suite) -> None:
    """man finds nothing to complain of, and both shells complete what the parser knows."""
    suite.inside(
        suite.building,
        r"""
        dpkg-deb -x /out/*.deb /unpacked
        cd /unpacked/usr/share
        for page in man/man*/*.gz; do
            said=$(LC_ALL=C.UTF-8 man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null)
            test -z "$said"
            lexgrog "$page"
        done
        test "$(ls man/man*/*.gz | wc -l)" -ge 9
        zsh -n zsh/vendor-completions/_postsink
        source bash-completion/completions/postsink
        compopt() { :; }
        completed() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _postsink; echo "${COMPREPLY[*]}"; }
        test "$(completed postsink imp)" = import
        test "$(completed postsink --config x keys ro)" = rotate
        test "$(completed postsink enable --subject '')" = "size none"
        [[ "$(completed postsink import --)" = *--year* ]]
        """,
        None, f"--bind-ro={suite.package}:/out",
    )  # fmt: skip
