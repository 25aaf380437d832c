"""What a call returns: order, batches, seeds, guidance, callbacks, output types."""

import numpy as np
import pytest
import torch
from diffusers.callbacks import PipelineCallback
from PIL import Image

from imagpose import IMAGPosePipeline
from imagpose.models.autoencoder import decode_latents
from imagpose.models.feature_tokens import FeatureTokens
from imagpose.models.presets import ABLATIONS
from imagpose.models.unet import IMAGPoseUNet
from imagpose.pipeline import conditions
from imagpose.pipeline import pipeline as pipeline_module
from imagpose.provenance import read_marks
from imagpose.views import ViewGrid, plan, untile

HEIGHT, WIDTH = 32, 16  # view of the tiny pipeline


class CallCounter:
    """Counts the calls of a method and keeps the batch sizes of its first tensor argument."""

    def __init__(self, monkeypatch, owner, name):
        self.batch_sizes = []
        original = getattr(owner, name)

        def counted(*args, **kwargs):
            first = next(value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor))
            self.batch_sizes.append(first.shape[0])
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)


def test_same_generator_same_pictures_other_seed_other_pictures(pipeline, picture, pose, seeded):
    def run(seed):
        return pipeline(
            [picture(0)], [pose(0), pose(1)], num_inference_steps=2, generator=seeded(seed), output_type="np"
        ).images

    first = run(3)
    np.testing.assert_array_equal(first, run(3))
    assert np.abs(first - run(4)).mean() > 0.01


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_a_request_gives_the_same_alone_and_in_a_batch(pipeline, picture, pose, seeded, scale):
    sources = [[picture(0)], [picture(1), picture(2)], [picture(3)]]
    targets = [[pose(0)], [pose(1), pose(2), pose(3), pose(4)], [pose(5), pose(6)]]
    source_poses = [None, [pose(7), None], [pose(8)]]
    options = {"num_inference_steps": 2, "guidance_scale": scale, "output_type": "np"}
    batch = pipeline(sources, targets, source_poses, generator=[seeded(seed) for seed in range(3)], **options).images
    assert [len(images) for images in batch] == [1, 4, 2]
    for index, images in enumerate(batch):
        alone = pipeline(sources[index], targets[index], source_poses[index], generator=seeded(index), **options).images
        np.testing.assert_allclose(images, alone, atol=2e-4)
    assert np.abs(batch[0][0] - batch[2][0]).mean() > 0.01


def test_pictures_come_in_the_order_of_the_poses(pipeline, picture, pose):
    noise = torch.randn(1, 4, 8, 4, generator=torch.Generator().manual_seed(0)).repeat(2, 1, 1, 1)
    options = {"scenario": "T2", "latents": noise, "num_inference_steps": 2, "output_type": "np"}
    forth = pipeline([picture(0)], [pose(0), pose(1)], **options).images
    back = pipeline([picture(0)], [pose(1), pose(0)], **options).images
    np.testing.assert_allclose(forth, back[::-1], atol=1e-5)
    assert np.abs(forth[0] - forth[1]).mean() > 1e-3


def test_more_poses_do_not_change_the_first_canvas(pipeline, picture, pose, seeded):
    def run(count):
        targets = [pose(index) for index in range(count)]
        return pipeline([picture(0)], targets, num_inference_steps=2, generator=seeded(5), output_type="np").images

    np.testing.assert_allclose(run(3), run(6)[:3], atol=2e-4)


def test_what_is_asked_goes_through_every_network_a_few_at_a_time(pipeline, picture, pose, seeded, monkeypatch):
    """So that memory does not grow with it; the pictures are those of a single pass, whatever the parts hold."""
    counters = [
        CallCounter(monkeypatch, owner, name)
        for owner, name in (
            (pipeline.vae, "encode"), (pipeline.image_encoder, "forward"), (pipeline.pose_encoder, "forward"),
            (pipeline.unet, "forward"), (pipeline.vae, "decode"),
        )
    ]  # fmt: skip
    pipeline.feature_tokens.register_to_config(use_texture=False)
    pipeline.feature_tokens.texture = None

    def run():
        for counter in counters:
            counter.batch_sizes.clear()
        sources = [[picture(number), picture(9)] for number in range(5)]
        poses = [[pose(number) for number in range(2 if request else 11)] for request in range(5)]
        images = pipeline(sources, poses, num_inference_steps=1, generator=seeded(0), output_type="np").images
        return np.concatenate(images), [list(counter.batch_sizes) for counter in counters]

    images, batches = run()  # the first request takes 6 canvases of 2 x 2, the others one each: parts of 4, 4 and 2
    assert batches == [[2, 1, 4, 4], [1, 2, 2], [4, 4, 2], [8, 8, 4], [4, 4, 4, 3, 4]]  # 1: the black view
    monkeypatch.setattr(conditions, "AT_ONCE", 1000)
    monkeypatch.setattr(pipeline_module, "AT_ONCE", 1000)
    at_once, batches = run()
    assert batches == [[10, 1], [5], [10], [20], [19]]
    np.testing.assert_allclose(images, at_once, atol=2e-4)


def test_every_source_matters_and_so_does_its_pose(pipeline, picture, pose, seeded):
    def run(sources, source_poses=None):
        return pipeline(
            sources, [pose(0)], source_poses, num_inference_steps=2, generator=seeded(0), output_type="np"
        ).images

    base = run([picture(0), picture(1)])
    assert np.abs(base - run([picture(0), picture(2)])).max() > 1e-4
    assert np.abs(base - run([picture(2), picture(1)])).max() > 1e-4
    assert np.abs(base - run([picture(0), picture(1)], [None, pose(3)])).max() > 1e-4


def test_the_seed_chooses_among_the_candidates_of_t1(pipeline, picture, pose, seeded):
    chosen = set()
    for seed in range(8):
        out = pipeline(
            [picture(0)],
            [pose(0)],
            scenario="T1",
            num_inference_steps=1,
            guidance_scale=1,
            generator=seeded(seed),
            output_type="latent",
            return_canvases=True,
        )
        slots = untile(out.canvases, ViewGrid(2, 2))[0]
        equal = [index for index in range(4) if torch.equal(slots[index], out.images[0])]
        assert equal == [1 + int(torch.randint(3, (1,), generator=seeded(seed)))]
        chosen.update(equal)
    assert chosen == {1, 2, 3}


def test_conditions_are_encoded_once(pipeline, picture, pose, monkeypatch):
    vae = CallCounter(monkeypatch, pipeline.vae, "encode")
    counters = {
        name: CallCounter(monkeypatch, getattr(pipeline, name), "forward")
        for name in ("image_encoder", "feature_tokens", "pose_encoder", "unet")
    }
    pipeline([picture(0), picture(1)], [pose(index) for index in range(4)], num_inference_steps=3)
    sizes = {name: counter.batch_sizes for name, counter in counters.items()}
    # two sources in one call, the black view and the texture of the first source in others; two canvases
    assert sorted(vae.batch_sizes) == [1, 1, 2]
    assert sizes == {"image_encoder": [1], "feature_tokens": [1], "pose_encoder": [2], "unet": [4, 4, 4]}


def test_guidance_scale_is_read_at_every_step(pipeline, picture, pose, monkeypatch):
    unet = CallCounter(monkeypatch, pipeline.unet, "forward")

    def stop_guidance(pipe, index, timestep, tensors):
        if index == 1:
            pipe._guidance_scale = 1.0
        return tensors

    pipeline([picture(0)], [pose(0)], num_inference_steps=4, callback_on_step_end=stop_guidance)
    assert unet.batch_sizes == [2, 2, 1, 1]


def test_callback_replaces_latents_and_interrupt_stops(pipeline, picture, pose, monkeypatch):
    seen = []

    def replace_last(pipe, index, timestep, tensors):
        seen.append((index, int(timestep)))
        return {"latents": torch.full_like(tensors["latents"], 0.25)} if index == 2 else tensors

    out = pipeline(
        [picture(0)], [pose(0)], num_inference_steps=3, output_type="latent", callback_on_step_end=replace_last
    )
    assert torch.equal(out.images, torch.full_like(out.images, 0.25))
    assert [index for index, _ in seen] == [0, 1, 2]
    assert [timestep for _, timestep in seen] == pipeline.scheduler.timesteps.tolist()

    def interrupt(pipe, index, timestep, tensors):
        pipe._interrupt = True
        return tensors

    unet = CallCounter(monkeypatch, pipeline.unet, "forward")
    pipeline([picture(0)], [pose(0)], num_inference_steps=5, callback_on_step_end=interrupt)
    assert len(unet.batch_sizes) == 1


def test_output_types_agree(pipeline, picture, pose, seeded):
    def run(output_type):
        out = pipeline(
            [picture(0)],
            [pose(0), pose(1)],
            num_inference_steps=2,
            generator=seeded(1),
            output_type=output_type,
            return_canvases=True,
        )
        return out.images, out.canvases

    (pil, pil_canvas), (array, array_canvas), (tensor, tensor_canvas), (latents, latent_canvas) = (
        run(kind) for kind in ("pil", "np", "pt", "latent")
    )
    assert array.shape == (2, HEIGHT, WIDTH, 3) and array_canvas.shape == (1, 2 * HEIGHT, 2 * WIDTH, 3)
    np.testing.assert_array_equal(np.stack([np.asarray(image) for image in pil]), (array * 255).round())
    np.testing.assert_array_equal(np.asarray(pil_canvas[0]), (array_canvas[0] * 255).round())
    np.testing.assert_array_equal(tensor.movedim(1, -1).numpy(), array)
    np.testing.assert_array_equal(tensor_canvas.movedim(1, -1).numpy(), array_canvas)
    with torch.no_grad():
        decoded = decode_latents(pipeline.vae, latents)
    np.testing.assert_allclose((decoded / 2 + 0.5).clamp(0, 1).movedim(1, -1).numpy(), array, atol=1e-5)
    # slot 1 of the canvas is the first target
    assert torch.equal(untile(latent_canvas, ViewGrid(2, 2))[0, 1], latents[0])
    np.testing.assert_allclose(array_canvas[0, :HEIGHT, WIDTH:], array[0], atol=1e-5)


def test_tuple_and_batch_forms(pipeline, picture, pose):
    options = {"num_inference_steps": 1, "guidance_scale": 1}
    assert len(pipeline(picture(0), pose(0), return_dict=False, **options)) == 1
    images, canvases = pipeline(picture(0), pose(0), return_dict=False, return_canvases=True, **options)
    assert len(images) == 1 and len(canvases) == 1
    out = pipeline([[picture(0)], [picture(1)]], [[pose(0)], [pose(index) for index in range(5)]], **options)
    assert [len(images) for images in out.images] == [1, 5]
    assert out.canvases is None


@pytest.mark.parametrize(("count", "names"), [(1, ["x.png"]), (2, ["x-0.png", "x-1.png"])])
def test_saved_pictures_say_what_made_them(pipeline, picture, pose, seeded, tmp_path, count, names):
    out = pipeline(picture(0), [pose(i) for i in range(count)], num_inference_steps=1, generator=seeded(5))
    assert len(out.to_tuple()) == 1
    written = out.save(tmp_path / "x.png")
    assert [path.name for path in written] == names
    for path, expected in zip(written, out.images, strict=True):
        marks = read_marks(path)
        assert marks.generated and (marks.model, marks.seed) == ("unsaved", 5)
        with Image.open(path) as stored:
            np.testing.assert_array_equal(np.asarray(stored), np.asarray(expected))


def test_a_batch_is_saved_request_by_request_and_other_forms_are_refused(pipeline, picture, pose, seeded, tmp_path):
    arguments = ([[picture(0)], [picture(1)]], [[pose(0), pose(1)], [pose(2)]])
    out = pipeline(*arguments, num_inference_steps=1, generator=[seeded(5), seeded(6)])
    written = out.save(tmp_path / "x.webp")
    assert [path.name for path in written] == ["x-0-0.webp", "x-0-1.webp", "x-1-0.webp"]
    assert [read_marks(path).seed for path in written] == [5, 5, 6]
    with pytest.raises(ValueError, match="ends in"):
        out.save(tmp_path / "x.gif")
    for form in ("pt", "np"):
        other = pipeline(picture(0), pose(0), num_inference_steps=1, output_type=form)
        with pytest.raises(ValueError, match="output_type='pil'"):
            other.save(tmp_path / "y.png")


def test_sides_that_need_padding_are_padded_and_cropped(pipeline, picture, pose, seeded):
    options = {"num_inference_steps": 1, "height": 40, "width": 26, "generator": seeded(0)}
    out = pipeline([picture(0)], [pose(0)], output_type="np", return_canvases=True, **options)
    assert out.images.shape == (1, 40, 26, 3)
    assert out.canvases.shape == (1, 80, 52, 3)
    latents = pipeline([picture(0)], [pose(0)], output_type="latent", **{**options, "generator": seeded(0)}).images
    assert latents.shape[-2:] == (6, 4)  # 48 x 32 pixels: multiples of 8 * 2 ** (2 levels - 1)
    with torch.no_grad():
        decoded = decode_latents(pipeline.vae, latents)
    cropped = decoded[0, :, 4:44, 3:29]
    np.testing.assert_allclose((cropped / 2 + 0.5).clamp(0, 1).movedim(0, -1), out.images[0], atol=1e-5)


def test_other_grids_and_schedulers(pipeline, picture, pose, seeded):
    from diffusers import EulerAncestralDiscreteScheduler, UniPCMultistepScheduler

    targets = [pose(index) for index in range(5)]
    for scheduler in (EulerAncestralDiscreteScheduler, UniPCMultistepScheduler):
        pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config)
        options = {"grid": "2x3", "num_inference_steps": 3, "output_type": "np"}
        first = pipeline([picture(0)], targets, generator=seeded(2), **options).images
        again = pipeline([picture(0)], targets, generator=seeded(2), **options).images
        assert first.shape == (5, HEIGHT, WIDTH, 3)
        np.testing.assert_array_equal(first, again)
    assert len(plan(1, 5, ViewGrid(2, 3)).canvases) == 1


def test_bfloat16_stays_close_to_float32(pipeline, picture, pose, seeded):
    def run(pipe):
        return pipe([picture(0)], [pose(0)], num_inference_steps=2, generator=seeded(0), output_type="np").images

    exact = run(pipeline)
    rough = run(pipeline.to(torch.bfloat16))
    assert rough.dtype == np.float32
    assert 0 < np.abs(exact - rough).mean() < 0.03


@pytest.mark.parametrize("variant", ["B0", "B4", "M1"])
def test_ablations_run_through_the_same_pipeline(pipeline, picture, pose, variant):
    ablation = ABLATIONS[variant]
    torch.manual_seed(0)
    config = {name: value for name, value in pipeline.unet.config.items() if not name.startswith("_")}
    pipeline.unet = IMAGPoseUNet(**{**config, **ablation.unet_arguments(4)}).eval()
    pipeline.feature_tokens = FeatureTokens(16, 24, texture_long_side=128, use_texture=ablation.use_texture)

    def run(second_source):
        out = pipeline(
            [picture(0), picture(second_source)],
            [pose(0), pose(1)],
            latents=torch.ones(1, 4, 8, 4),
            num_inference_steps=2,
            output_type="np",
        )
        return out.images[0]

    # F_C is the first source's: only masked latents (9 channels) can tell the second source.
    assert np.array_equal(run(1), run(2)) == (ablation.image_level != "latents")


def test_components_make_the_same_pipeline_again(pipeline, picture, pose, seeded):
    again = IMAGPosePipeline(**pipeline.components, view_height=HEIGHT, view_width=WIDTH)
    again.set_progress_bar_config(disable=True)
    results = [
        pipe([picture(0)], [pose(0)], num_inference_steps=1, generator=seeded(0), output_type="np").images
        for pipe in (pipeline, again)
    ]
    np.testing.assert_array_equal(*results)
    modules = {name for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    assert set(pipeline.model_cpu_offload_seq.split("->")) == modules


def test_vae_slicing_changes_nothing(pipeline, picture, pose, seeded):
    def run():
        return pipeline(
            [picture(0), picture(1)], [pose(0), pose(1)], num_inference_steps=1, generator=seeded(0), output_type="np"
        ).images

    whole = run()
    pipeline.enable_vae_slicing()
    assert pipeline.vae.use_slicing
    np.testing.assert_allclose(run(), whole, atol=1e-5)
    pipeline.disable_vae_slicing()
    assert not pipeline.vae.use_slicing


@pytest.mark.parametrize("names", [["latents"], ["noise"]])
def test_diffusers_own_callbacks_say_themselves_what_they_take(pipeline, picture, pose, names):
    seen = []

    class Own(PipelineCallback):
        tensor_inputs = names

        def callback_fn(self, _pipeline, step, _timestep, given):
            seen.append((step, sorted(given)))
            return given

    def call():
        pipeline(picture(0), pose(0), num_inference_steps=2, callback_on_step_end=Own(1.0))

    if names == ["noise"]:
        with pytest.raises(ValueError, match="'noise' is not one of latents"):
            call()
    else:
        call()
    assert seen == ([] if names == ["noise"] else [(0, ["latents"]), (1, ["latents"])])
