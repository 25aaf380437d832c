"""The page as programs use it: calls, limits, passwords, files; and that its pictures are the command line's."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import pytest

gradio_client = pytest.importorskip("gradio_client", reason="needs the extra web")
pytest.importorskip("gradio", reason="needs the extra web")

from imagpose.io import LOCK_FILE  # noqa: E402
from imagpose.pipeline.loading import load_pipeline, precision_of  # noqa: E402
from imagpose.pose import write_openpose_json  # noqa: E402
from imagpose.provenance import read_marks  # noqa: E402
from imagpose.serving.animate import animate  # noqa: E402
from imagpose.serving.generate import generate as generate_here  # noqa: E402
from imagpose.serving.web import server  # noqa: E402
from imagpose.serving.web.limits import Limits  # noqa: E402
from imagpose.serving.web.server import Address, open_page  # noqa: E402


@pytest.fixture(scope="module")
def client(served, tmp_path_factory):
    return gradio_client.Client(served.local_url, verbose=False, download_files=str(tmp_path_factory.mktemp("client")))


def generate(client, photos, poses, **settings) -> list[Path]:
    files = [gradio_client.handle_file(str(path)) for path in photos]
    return [Path(path) for path in client.predict(files, poses, settings, api_name="/generate")]


def test_the_same_request_gives_the_command_lines_bytes(client, tiny_model, photo, pose_json, pose, tmp_path):
    written = generate(client, [photo], [pose_json(0), pose_json(1)], steps=3, seed=5, size="64x32", units="pixels")
    assert [path.name for path in written] == [
        "target-0.png",
        "target-1.png",
        "sheet.png",
        "result.json",
        "imagpose.zip",
    ]
    with zipfile.ZipFile(written[-1]) as archive:
        archive.extractall(tmp_path / "archive")
    folder = tmp_path / "archive"
    record = json.loads((folder / "result.json").read_text())
    assert [own["file"] for own in record["sources"]] == ["sources/0.png"]
    assert record["poses"] == ["poses/target-0.json", "poses/target-1.json"]
    assert (record["settings"]["model"], record["settings"]["size"]) == ("tiny", "64x32")
    precision = precision_of(load_pipeline(tiny_model))
    assert (record["device"], record["dtype"], record["canvases_at_once"]) == ("cpu", precision, 4)
    assert record["backend"] == {"asked": "torch", "used": ["torch"]}

    again = generate_here(
        [folder / "sources" / "0.png"], [folder / name for name in record["poses"]], out=tmp_path / "again",
        model=tiny_model, size=(64, 32), steps=3, seed=5,
    ).files  # fmt: skip
    for ours, theirs in zip(written[:3], again[:3], strict=True):
        assert ours.read_bytes() == theirs.read_bytes() == (folder / ours.name).read_bytes()
    assert read_marks(written[0]).generated and read_marks(written[0]).seed == 5
    for path in written[:3]:
        assert b"photo" not in path.read_bytes()


def test_a_record_names_the_backends_of_its_own_request(pipeline, picture, pose, tmp_path):
    pipeline.backend.used.append("openvino")  # of an earlier request to the same pipeline
    record = generate_here(picture(0), pose(0), model=pipeline, steps=1).record
    assert record["backend"] == {"asked": "torch", "used": ["torch"]}
    film = animate(picture(0), [pose(0), pose(1)], out=tmp_path / "film", model=pipeline, steps=1, crop=False)
    assert film.record["backend"] == {"asked": "torch", "used": ["torch"]}


def test_samples_and_a_ground_of_their_own(client, photo, pose_json):
    asked = {"samples": 2, "steps": 1, "background": "#ff0000", "units": "pixels"}
    written = generate(client, [photo], [pose_json(0), pose_json(1)], **asked)
    names = [f"target-{target}_{sample}.png" for target in range(2) for sample in (1, 2)]
    assert [path.name for path in written[:4]] == names
    settings = json.loads(written[5].read_text())["settings"]
    assert (settings["samples"], settings["background"]) == (2, "#ff0000")


def test_the_page_shows_each_sample_beside_its_pose(tiny_model, photo, pose_json, tmp_path):
    from imagpose.serving.web.orders import Photo
    from imagpose.serving.web.page import _ended
    from imagpose.serving.web.studio import Studio

    studio = Studio(tmp_path, {"tiny": tiny_model}, Limits(), "cpu")
    job = studio.submit([Photo(photo)], [pose_json(0), pose_json(1)], {"samples": 2, "steps": 2, "units": "pixels"})
    while not job.ended.wait(0.1):
        job.look()
    assert job.news["step"] == job.news["steps"] == 4
    shown = [(Path(own["picture"]["path"]).stem, Path(own["skeleton"]["path"]).stem) for own in _ended(job)["items"]]
    assert shown == [(f"target-{n}_{sample}", f"target-{n}-skeleton") for n in range(2) for sample in (1, 2)]
    studio.close()


def test_who_goes_while_waiting_gives_the_place_to_others(tiny_model, photo, pose_json, tmp_path):
    """A page that is closed and a program that hangs up, while another request is worked on."""
    from imagpose.serving.web.calls import _files
    from imagpose.serving.web.orders import Photo
    from imagpose.serving.web.page import _generated
    from imagpose.serving.web.studio import Studio

    studio = Studio(tmp_path, {"tiny": tiny_model}, Limits(waiting=1), "cpu")
    begun, end = threading.Event(), threading.Event()
    studio.desk.submit(lambda job: begun.set() or end.wait(60))
    assert begun.wait(60)

    async def page_goes():
        shown = _generated(
            studio, {"photos": [{"path": str(photo)}]}, {"poses": [pose_json(0)]}, {"kind": "pictures"},
            {"scenario": "any"},
        )  # fmt: skip
        assert (await anext(shown))["state"] == "waiting"
        await shown.aclose()

    async def program_goes():
        jobs = []

        def submit():
            jobs.append(studio.submit([Photo(photo)], [pose_json(0)], {"units": "pixels"}))
            return jobs[0]

        asked = asyncio.create_task(_files(studio.desk, submit))
        while not jobs:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)  # it looks at its job
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked

    for goes in (page_goes, program_goes):
        asyncio.run(goes())
        next_one = studio.desk.submit(lambda job: None)  # else BusyError
        assert studio.desk.place(next_one) == 1 and studio.desk.cancel(next_one.token)
    end.set()
    studio.close()


def test_photos_of_a_request_outlast_it_however_old_they_are(tiny_model, photo, pose_json, tmp_path):
    from imagpose.serving.web.orders import Photo
    from imagpose.serving.web.studio import Studio

    studio = Studio(tmp_path / "page", {"tiny": tiny_model}, Limits(), "cpu")
    for name in ("asked", "old"):
        (studio.folder / name).mkdir()
        shutil.copy(photo, studio.folder / name)
        os.utime(studio.folder / name, (0, 0))
    own = studio.folder / "asked" / photo.name
    os.utime(own, (0, 0))  # as files of packages that are built alike every time have; a ZIP's times begin in 1980
    job = studio.submit([Photo(own)], [pose_json(0)], {"steps": 1, "units": "pixels"})
    while not job.ended.wait(0.1):
        job.look()
    assert job.state == "done" and not (studio.folder / "old").exists()
    with zipfile.ZipFile(job.result["files"][-1]) as archive:
        assert archive.read("sources/0.png") == own.read_bytes()
    studio.close()


def test_an_upload_that_is_removed_while_it_is_checked_is_refused_in_a_line(
    tiny_model, photo, pose_json, tmp_path, monkeypatch
):
    from imagpose.serving.web.orders import Photo
    from imagpose.serving.web.studio import Studio

    def gone(path):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))

    studio = Studio(tmp_path, {"tiny": tiny_model}, Limits(), "cpu")
    monkeypatch.setattr("imagpose.serving.web.studio.os.utime", gone)
    with pytest.raises(ValueError, match="No such file or directory: 'photo.png'"):
        studio.submit([Photo(photo)], [pose_json(0)], {"units": "pixels"})
    studio.close()


def test_the_curl_example_of_the_docs_runs_as_it_stands(served, photo, pose_json, tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    page = Path(__file__).parents[3] / "docs" / "web.md"
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    commands = next(own for own in blocks if "curl" in own)
    there = "http://127.0.0.1:7860/"
    assert there in commands
    shutil.copy(photo, tmp_path / "front.jpg")
    (tmp_path / "dance.json").write_text(json.dumps(pose_json(0)))
    told = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands.replace(there, served.local_url)],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    assert "event: complete" in told and "event: error" not in told
    files = json.loads(told.rpartition("data: ")[2])[0]
    assert [own["orig_name"] for own in files] == ["target-0.png", "sheet.png", "result.json", "imagpose.zip"]
    assert urllib.request.urlopen(files[0]["url"]).read().startswith(b"\x89PNG")


def test_folders_of_killed_pages_are_removed_and_nothing_else(tmp_path, monkeypatch):
    from imagpose.serving.web.server import _page_folder

    foreign = tmp_path / "others"
    foreign.mkdir()
    (foreign / ".lock").write_text("kept")
    (tmp_path / "imagpose-web-link").symlink_to(foreign)
    (tmp_path / "imagpose-web-new").mkdir()  # another page's, before it has its lock
    script = (
        "import time; from imagpose.serving.web.server import _page_folder\n"
        "with _page_folder() as folder: print(folder, flush=True); time.sleep(99)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)
    left = Path(process.stdout.readline().strip())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with _page_folder() as own, _page_folder():
        assert left.is_dir() and own.is_dir()
        (left / "upload.png").write_text("")
    assert not own.exists()
    process.kill()
    process.wait()
    assert (left / "upload.png").exists()
    with _page_folder():
        assert not left.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["imagpose-web-link", "imagpose-web-new", "others"]
    assert (foreign / ".lock").read_text() == "kept"


def test_sigterm_ends_a_page_at_once_though_it_is_looked_at(tiny_model, tmp_path):
    """As a container's end does; its folder goes with it."""
    words = [sys.executable, "-m", "imagpose", "web", "--port", "0", "--device", "cpu", "--model", tiny_model]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().split()[-1]
        with urllib.request.urlopen(f"{address}gradio_api/heartbeat/me"):  # an open tab listens there
            assert list(tmp_path.glob("imagpose-web-*/people"))
            process.send_signal(signal.SIGTERM)
            _, stderr = process.communicate(timeout=120)
    assert (process.returncode, stderr.strip().splitlines()[-1]) == (143, "stopped by SIGTERM")
    assert not list(tmp_path.glob("imagpose-web-*"))


def test_refusals_reach_the_program_as_one_line(client, photo, pose_json):
    for poses, settings, message in (
        ([], {}, "no target pose"),
        ([pose_json(0)], {"units": "pixels", "steps": 1000}, "1000 steps"),
    ):
        with pytest.raises(Exception, match=message):
            generate(client, [photo], poses, **settings)


def test_calls_of_another_shape_are_refused_in_a_line(served, client, photo, capfd):
    def ask(call, *inputs):
        body = json.dumps({"data": inputs}).encode()
        asked = urllib.request.Request(
            f"{served.local_url}gradio_api/call/{call}", body, {"Content-Type": "application/json"}
        )
        event = json.load(urllib.request.urlopen(asked))["event_id"]
        told = urllib.request.urlopen(f"{served.local_url}gradio_api/call/{call}/{event}").read().decode()
        return json.loads(told.split("data: ")[1])["error"]

    file = {"path": str(photo), "meta": {"_type": "gradio.FileData"}}
    shape = "a list of photos, a list of poses, settings expected, files uploaded before"
    assert shape in ask("generate", file, ["walk-03"], {})  # one photo without a list
    assert shape in ask("generate", [file], ["walk-03"], {})  # never uploaded
    assert shape in ask("generate", [file], ["walk-03"])
    assert "a list of poses" in ask("generate", [], "walk-03", {})
    assert ask("detect", None) == ask("read_poses", None) == "no file: upload one first"
    assert "a file expected" in ask("detect", 5)
    assert "Traceback" not in capfd.readouterr().err


def test_a_file_of_poses_is_read(client, pose, tmp_path):
    write_openpose_json([pose(0).resize(160, 320), pose(1).resize(160, 320)], tmp_path / "dance.json")
    found = client.predict(gradio_client.handle_file(str(tmp_path / "dance.json")), api_name="/read_poses")
    assert len(found["poses"]) == 2 and found["poses"][0]["canvas_height"] == 320


def test_what_a_file_of_poses_lacks_is_said_in_the_pages_words(client, pose, tmp_path):
    file, one = tmp_path / "dance.json", pose(0).keypoints
    body = {"people": [{"pose_keypoints_2d": one.ravel().tolist()}]}
    tiny = {"people": [{"pose_keypoints_2d": (one * ([7 / one[:, :2].max()] * 2 + [1])).ravel().tolist()}]}
    for content, message in ({}, r"dance\.json"), (body, "give the frame, height x width$"), (tiny, "poses convert"):
        file.write_text(json.dumps(content))
        with pytest.raises(Exception, match=message) as raised:
            client.predict(gradio_client.handle_file(str(file)), api_name="/read_poses")
        assert os.environ["GRADIO_TEMP_DIR"] not in str(raised.value) and "--pose-frame" not in str(raised.value)
    body["people"] *= 2
    file.write_text(json.dumps({**body, "canvas_width": 16, "canvas_height": 32}))
    (note,) = client.predict(gradio_client.handle_file(str(file)), api_name="/read_poses")["notes"]
    assert note.startswith("2 people; person 1 is taken") and "--" not in note


def test_a_file_that_is_no_picture_is_refused_without_the_servers_folders(client, photo, pose_json, tmp_path):
    (tmp_path / "no picture.png").write_bytes(b"text")
    (tmp_path / "cut.png").write_bytes(photo.read_bytes()[:-200])
    for name in ("no picture.png", "cut.png"):
        file = gradio_client.handle_file(str(tmp_path / name))
        for api, given in (("/detect", [file]), ("/read_poses", [file]), ("/generate", [[file], [pose_json(0)], {}])):
            with pytest.raises(Exception, match=rf"^{name}: ") as raised:
                client.predict(*given, api_name=api)
            assert os.environ["GRADIO_TEMP_DIR"] not in str(raised.value), api


def test_uploads_that_are_too_large_are_refused(served, client, tmp_path):
    (tmp_path / "large.png").write_bytes(bytes(300_000))
    with pytest.raises(Exception, match=r"(?i)size|large|413"):
        client.predict(gradio_client.handle_file(str(tmp_path / "large.png")), api_name="/detect")


def test_files_outside_are_not_served(served, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    inside = os.environ["GRADIO_TEMP_DIR"]
    for path in (str(secret), f"{inside}/../{secret}", f"{inside}/people/../../{secret.relative_to('/')}"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{served.local_url}gradio_api/file={path}")
        assert refused.value.code in (403, 404)


def test_files_of_other_machines_are_not_fetched(served, client, monkeypatch):
    asked = []

    async def fetch(url, *_, **__):
        asked.append(url)
        raise OSError

    monkeypatch.setattr("gradio.processing_utils.async_ssrf_protected_get", fetch)
    monkeypatch.setattr("gradio.processing_utils.async_ssrf_protected_download", fetch)
    monkeypatch.setattr("gradio.routes.secure_url_stream_response", fetch)
    address = "https://example.com/photo.png"
    for path in (f"file={address}", f"file/{address}", f"proxy={address}"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{served.local_url}gradio_api/{path}")
        assert refused.value.code == 403, path
    file = {"path": address, "meta": {"_type": "gradio.FileData"}}
    for api, given in (("/detect", [file]), ("/generate", [[file], ["walk-03"], {}]), ("/generate", [[], [file], {}])):
        with pytest.raises(Exception, match="must be uploaded"):
            client.predict(*given, api_name=api)
    assert not asked


def test_uploads_end_where_the_folder_is_full(tiny_model):
    with open_page(Address(port=0), [tiny_model], Limits(kept_bytes=2_000_000), "cpu") as page:
        with pytest.raises(urllib.error.HTTPError) as refused:
            for taken in range(20):
                upload(page, bytes([taken]) * 100_000)
        assert refused.value.code == 413 and "no room for more files" in refused.value.read().decode() and taken > 1
        unstated = urllib.request.Request(f"{page.local_url}gradio_api/upload", iter([b"text"]), method="POST")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(unstated)
        assert refused.value.code == 411


def upload(page, content: bytes) -> None:
    form = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\n' + content + b"\r\n--x--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    urllib.request.urlopen(urllib.request.Request(f"{page.local_url}gradio_api/upload", form, kind)).close()


def test_the_page_asks_nobody_else_for_anything(served):
    text = urllib.request.urlopen(served.local_url).read().decode()
    assert "googleapis" not in text and "cdn" not in text.lower()


def test_a_password_is_asked_for_everywhere(tiny_model, photo):
    with open_page(Address(port=0, password="let me in"), [tiny_model], Limits(), "cpu") as page:
        for path in ("config", "gradio_api/info", "gradio_api/queue/status"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"{page.local_url}{path}")
            assert refused.value.code == 401
        for path in (
            "gradio_api/upload",
            "gradio_api/component_server",
            "gradio_api/queue/join",
            "gradio_api/run/generate",
        ):
            request = urllib.request.Request(f"{page.local_url}{path}", b"{}", {"Content-Type": "application/json"})
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request)
            assert refused.value.code == 401, path
        client = gradio_client.Client(page.local_url, auth=("imagpose", "let me in"), verbose=False)
        assert "/generate" in str(client.view_api(return_format="dict"))
        folder = Path(os.environ["GRADIO_TEMP_DIR"])
        assert (folder / "people").is_dir()
    assert not folder.exists()


def test_a_port_that_is_taken_is_said(served, tiny_model):
    port = int(served.local_url.rstrip("/").rpartition(":")[2])
    with pytest.raises(ValueError, match="--port"), open_page(Address(port=port), [tiny_model], Limits(), "cpu"):
        pass


def test_a_folder_of_another_user_is_no_page_to_clear(tmp_path):
    (tmp_path / LOCK_FILE).touch()
    user = tmp_path.stat().st_uid
    assert server._is_of_a_page(tmp_path, user) and not server._is_of_a_page(tmp_path, user + 1)


def test_an_error_while_the_page_runs_is_not_taken_for_one_of_the_port(tiny_model):
    with pytest.raises(BrokenPipeError), open_page(Address(port=0), [tiny_model], Limits(), "cpu"):
        raise BrokenPipeError("nobody reads what is said")


@pytest.mark.parametrize(
    ("models", "device", "message"),
    [
        (["nothere"], "cpu", "unknown model 'nothere'"),
        (["mini", "{copy}/mini"], "cpu", "have the same name"),
        (["mini"], "rubbish", "device 'rubbish': one of"),
    ],
)
def test_a_wrong_model_or_device_is_said_before_gradio_and_torch_are_imported(
    tmp_path, monkeypatch, models, device, message
):
    (tmp_path / "mini").mkdir()
    (tmp_path / "mini" / "model_index.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr("imagpose.serving.web.server._import_page", lambda: pytest.fail("imports Gradio"))
    given = [model.format(copy=tmp_path) for model in models]
    with pytest.raises(ValueError, match=message), open_page(Address(), given, Limits(), device):
        pass


@pytest.mark.parametrize("host", ["203.0.113.1", "", "a..b"])
def test_a_host_that_is_not_this_machine_is_said(tiny_model, monkeypatch, host):
    monkeypatch.setattr("imagpose.serving.web.server._import_page", lambda: pytest.fail("imports Gradio"))
    there = open_page(Address(host, port=0), [tiny_model], Limits(), "cpu")
    with pytest.raises(ValueError, match="is no address of this machine"), there:
        pass


def test_an_empty_password_is_refused():
    with pytest.raises(ValueError, match="password is empty"):
        Address(password="")


def test_only_this_machine_is_let_in_by_default():
    assert Address().host == "127.0.0.1" and not Address().share
