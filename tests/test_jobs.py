"""Workers that crash, hang, hoard and lie end as one-sentence errors, and leave nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgekit.errors import ConvertError, SetupError
from edgekit.files import sha256_tree
from edgekit.places import cache_dir
from edgekit.toolchains.jobs import Job, cached, digests, run

VERB = Path(__file__).parent / "lab/verbs/misbehave.py"
pytestmark = [pytest.mark.toolchain, pytest.mark.usefixtures("own_cache")]


def misbehave(how: str, **limits: float) -> object:
    return run(Job("convert", VERB, {}, {"how": how}), lambda text, fraction: None, cache=False, **limits)  # type: ignore[arg-type]


def leftovers() -> list[Path]:
    return list((cache_dir() / "results").glob(".job-*"))


@pytest.mark.parametrize(
    ("how", "limits", "words"),
    [
        ("abort", {}, "the misbehave worker crashed (SIGABRT) while about to abort"),
        ("be killed", {}, "was killed by the system while about to be killed: memory has most likely run out"),
        ("hang", {"deadline_s": 1.0}, "did not end within 1 s while about to hang"),
        ("hog", {"memory_limit_bytes": 200_000_000}, "needed more than 0.2 GB of memory while about to hog"),
        ("raise", {}, "failed (RuntimeError: a library's own words) while about to raise"),
        ("exit", {}, "failed (exit code 3) while about to exit"),
        ("refuse", {}, "node 'n' has operator Foo, which nobody takes: remove it"),
    ],
)
def test_a_bad_end_is_one_sentence_that_says_where(how: str, limits: dict[str, float], words: str) -> None:
    before = leftovers()
    with pytest.raises(ConvertError) as caught:
        misbehave(how, **limits)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert leftovers() == before


def test_a_refusal_names_the_operator_and_the_node() -> None:
    with pytest.raises(ConvertError) as caught:
        misbehave("refuse")
    assert (caught.value.op, caught.value.node) == ("Foo", "n")


def test_a_full_disk_is_a_matter_of_set_up() -> None:
    with pytest.raises(SetupError, match="the disk is full: free some space and repeat the command"):
        misbehave("fill the disk")


def test_what_a_library_prints_is_not_taken_for_progress() -> None:
    said: list[str] = []
    outcome = run(Job("convert", VERB, {}, {"how": "chatter"}), lambda text, fraction: said.append(text), cache=False)
    assert said == ["about to chatter"]
    assert outcome.result == {"how": "chatter", "n": 0}


def test_the_same_question_is_answered_once_and_another_one_is_not(tmp_path: Path) -> None:
    options = {"how": "answer", "n": time.time_ns()}
    first = run(Job("convert", VERB, {}, options), lambda text, fraction: None)
    again = run(Job("convert", VERB, {}, options), lambda text, fraction: None)
    assert (first.cached, again.cached) == (False, True)
    assert again.folder == first.folder
    assert (again.folder / "file.txt").read_text() == "answer"
    given = tmp_path / "input.bin"
    given.write_bytes(b"1")
    with_input = run(Job("convert", VERB, {"input": given}, options), lambda text, fraction: None)
    given.write_bytes(b"2")
    with_other_bytes = run(Job("convert", VERB, {"input": given}, options), lambda text, fraction: None)
    assert not with_input.cached
    assert not with_other_bytes.cached


def test_what_a_killed_job_left_is_there_when_it_is_asked_again_and_gone_when_it_is_done() -> None:
    job = Job("convert", VERB, {}, {"how": "be killed once", "asked": time.time_ns()}, resumes=True)

    with pytest.raises(ConvertError, match="was killed by the system"):
        run(job, lambda text, fraction: None)
    assert job.kept is not None
    assert job.kept.exists()

    assert run(job, lambda text, fraction: None).result == {"how": "be killed once", "n": len("half of it")}
    assert not job.kept.exists()


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except OSError:
        return True


def wait_until(condition: object, seconds: float = 15) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_interrupting_edgekit_ends_the_worker_and_its_children(tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    pidfile.write_text("")
    program = (
        "from pathlib import Path; from edgekit.toolchains.jobs import Job, run\n"
        f"run(Job('convert', Path({str(VERB)!r}), {{'pidfile': Path({str(pidfile)!r})}}, {{'how': 'hang with a child'}}), lambda t, f: None, cache=False)"
    )
    before = leftovers()
    edgekit = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    assert wait_until(lambda: pidfile.read_text() != "")
    edgekit.send_signal(signal.SIGINT)
    edgekit.wait(timeout=15)
    assert wait_until(lambda: gone(int(pidfile.read_text())))
    assert leftovers() == before


def test_missing_toolchain_names_the_one_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_CACHE_DIR", str(tmp_path))
    with pytest.raises(SetupError, match="toolchain 'convert' is not installed: run `edgekit toolchains install convert`"):
        misbehave("answer")


def test_what_a_worker_gave_is_known_by_its_content_also_when_it_was_made_anew() -> None:
    options = {"how": "answer", "n": time.time_ns()}
    first = run(Job("convert", VERB, {}, options), lambda text, fraction: None)
    before = digests(first.folder / "file.txt")
    with cached(False):
        again = run(Job("convert", VERB, {}, options), lambda text, fraction: None)
    assert not again.cached
    assert digests(again.folder / "file.txt") == before == (sha256_tree(first.folder / "file.txt"),)
    (again.folder / "file.txt").write_text("other")
    (again.folder.parent / "result.json").touch()  # as a worker's new result has a new one
    assert digests(again.folder / "file.txt") != before
