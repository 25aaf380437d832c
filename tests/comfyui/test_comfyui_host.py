"""What the nodes take of ComfyUI beside its types: progress, interruption, folders of models, memory."""

from __future__ import annotations

import sys

import pytest
import torch
from PIL import Image


@pytest.fixture
def request_for(host):
    """A function from settings to the output of Generate for a rendered person in a pose of the library."""
    classes = host.classes
    photos, known = classes["ImagposeRenderedPerson"].execute(person="2000006", views=1).result
    person = classes["ImagposePerson"].execute(photos=photos, poses=known).result[0]
    poses = classes["ImagposePoseFromFile"].execute(pose="walk-03").result[0]
    model = classes["ImagposeLoadModel"].execute(model="tiny", dtype="auto", backend="torch").result[0]
    usual = {
        "seed": 0, "steps": 6, "guidance_scale": 1.0, "scenario": "any", "grid": "2x2", "size": "", "samples": 1,
        "keep_best": False, "background": "keep", "crop": False, "retarget": False, "save_as": "",
    }  # fmt: skip

    def ask(model=model, **settings):
        return classes["ImagposeGenerate"].execute(model=model, person=person, poses=poses, **{**usual, **settings})

    def animate(**settings):
        kept = {name: usual[name] for name in ("seed", "steps", "guidance_scale", "grid", "size", "crop", "retarget")}
        others = {"save_as": "", "fps": 5.0, "overlap": 1, "smooth": "none"}
        three = poses.joined(poses).joined(poses)
        given = {**kept, **others, **settings}
        return classes["ImagposeAnimate"].execute(model=model, person=person, poses=three, **given)

    ask.model, ask.animate = model, animate
    return ask


@pytest.fixture
def progress():
    """What ComfyUI's page would be told: steps done, steps in all, preview."""
    utils = sys.modules["comfy.utils"]
    told = []
    utils.set_progress_bar_global_hook(lambda done, total, preview, node_id=None: told.append((done, total, preview)))
    yield told
    utils.set_progress_bar_global_hook(None)


def test_progress_reaches_the_end_of_all_samples_with_previews(request_for, progress):
    images = request_for(samples=2).result[0]
    assert images.shape == (2, 32, 16, 3) and images.dtype == torch.float32
    assert [total for _, total, _ in progress] == [12] * len(progress) and progress[-1][0] == 12
    assert [done for done, *_ in progress] == sorted(done for done, *_ in progress)
    shown = [preview for *_, preview in progress if preview is not None]
    assert shown and all(kind == "JPEG" and picture.size == (16, 32) for kind, picture, _ in shown)


def test_an_interruption_ends_the_request_and_writes_nothing(host, request_for, progress):
    management = sys.modules["comfy.model_management"]
    utils = sys.modules["comfy.utils"]
    utils.set_progress_bar_global_hook(lambda *told, **own: management.interrupt_current_processing())
    with pytest.raises(management.InterruptProcessingException):
        request_for(save_as="interrupted")
    assert not list(host.output.glob("interrupted*"))
    utils.set_progress_bar_global_hook(None)
    assert len(request_for().result[0]) == 1  # the next one is not interrupted


def test_a_film_tells_of_its_steps_and_ends_where_it_is_interrupted(host, request_for, progress):
    before = set(host.output.iterdir())
    frames = request_for.animate(grid="1x3").result[0]  # two canvases: two frames, then one beside the first
    assert frames.shape == (3, 32, 16, 3)
    assert {total for _, total, _ in progress} == {12} and [done for done, *_ in progress][-1] == 12
    management, utils = sys.modules["comfy.model_management"], sys.modules["comfy.utils"]
    utils.set_progress_bar_global_hook(lambda *told, **own: management.interrupt_current_processing())
    with pytest.raises(management.InterruptProcessingException):
        request_for.animate(save_as="stopped")
    assert set(host.output.iterdir()) == before


def test_models_are_those_that_ship_and_the_saved_pipelines_below_models(host):
    options = host.classes["ImagposeLoadModel"].INPUT_TYPES()["required"]["model"][1]["options"]
    assert options == ["mini", "tiny"]
    (host.models / "imagpose" / "nothing").mkdir(exist_ok=True)
    assert host.classes["ImagposeLoadModel"].INPUT_TYPES()["required"]["model"][1]["options"] == ["mini", "tiny"]
    with pytest.raises(ValueError, match="fp16 is for GPUs"):
        host.classes["ImagposeLoadModel"].execute(model="tiny", dtype="fp16", backend="torch")


def test_memory_is_asked_for_before_each_request(request_for, monkeypatch):
    """ComfyUI is told of every network of the pipeline, and may put them elsewhere between two requests."""
    management = sys.modules["comfy.model_management"]
    asked = []
    monkeypatch.setattr(management, "load_models_gpu", lambda models, **own: asked.append((models, own)))
    model = request_for.model
    networks = [part for part in model.pipeline.components.values() if isinstance(part, torch.nn.Module)]
    held = {id(weight) for weight in model.patcher.model.parameters()}
    assert held == {id(weight) for network in networks for weight in network.parameters()}
    assert model.patcher.model_size() == sum(w.nelement() * w.element_size() for n in networks for w in n.parameters())
    first = request_for().result[0]
    with torch.no_grad():
        for weight in model.patcher.model.parameters():  # what ComfyUI does to what it holds, it does to the pipeline
            weight.mul_(0.9)
    assert asked == [([model.patcher], {"force_full_load": True})]
    second = request_for().result[0]
    assert len(asked) == 2 and not torch.equal(first, second)


def test_other_sizes_alpha_and_wrong_numbers_of_poses(host, request_for):
    classes = host.classes
    photos, known = classes["ImagposeRenderedPerson"].execute(person="2000006", views=2).result
    with pytest.raises(ValueError, match="2 poses for 1 photos"):
        classes["ImagposePerson"].execute(photos=photos[:1], poses=known)
    small = photos[:1, ::2, ::2] * 1.5  # other nodes may exceed 1
    both = (
        classes["ImagposePerson"]
        .execute(photos=small, person=classes["ImagposePerson"].execute(photos=photos, poses=known).result[0])
        .result[0]
    )
    assert [photo.size for photo in both.photos] == [(176, 256), (176, 256), (88, 128)]
    assert both.poses[2] is None and both.poses[0] is known.poses[0]
    clear = request_for(background="transparent").result[0]
    assert clear.shape == (1, 32, 16, 4)
    skeletons = classes["ImagposeDrawPoses"].execute(poses=known, size="64x48", controlnet=False).result[0]
    assert skeletons.shape == (2, 64, 48, 3) and Image.fromarray((skeletons[0].numpy() * 255).astype("uint8")).getbbox()
    with pytest.raises(ValueError, match="neither a drawn skeleton nor a photo"):
        classes["ImagposePoseFromImage"].execute(image=torch.zeros(1, 64, 48, 3))
    for size, message in (("0x0", "height"), ("64x99999", "width"), ("large", "height x width expected")):
        with pytest.raises(ValueError, match=message):
            classes["ImagposeDrawPoses"].execute(poses=known, size=size, controlnet=False)
    with pytest.raises(ValueError, match="text is not JSON"):
        classes["ImagposePoseFromJSON"].execute(text="{")
