"""From an identity and a view's specification to its picture, pose, foreground mask and part mask. Source: own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_matrix

from imagpose.people.backdrop import paint_backdrop
from imagpose.people.camera import Projection, ViewSpec, frame_person, turn
from imagpose.people.collision import penetration
from imagpose.people.identity import Identity
from imagpose.people.motion import DEEP_KINDS, Motion, Posture, interpolate_rotations, sample_motion, solve_motion
from imagpose.people.outfit import PART_NAMES, PART_OF_MATERIAL, Material
from imagpose.people.raster import VisibilityBuffer, rasterize
from imagpose.people.shading import surface_colours
from imagpose.people.shoot import Shoot, make_shoot, stool
from imagpose.people.skinning import PosedMesh, normalize, pose_identity
from imagpose.people.style import Seen, draw_view
from imagpose.people.visibility import keypoint_confidence
from imagpose.people.world import find_world
from imagpose.pose import Pose

SUPERSAMPLING = 2
_SEAT = 255  # material id of the stool, which belongs to the scene and not to the person
# The inner side of these is never seen; two thirds of all triangles are skin.
_CLOSED = (Material.SKIN, Material.EYE)
_SEAT_REACH = 0.16
_HIPS = (8, 11)


@dataclass(frozen=True, eq=False)
class View:
    """One picture of a person and what is known about it.

    Attributes:
        spec: what it was made from.
        kind: kind of pose (`motion.KINDS`).
        projection: the camera; another person rendered through it is seen from the same place.
        picture: uint8 (H, W, 3).
        pose: 18 key points in pixels; confidence 1 visible, 0.5 hidden, 0 outside of the picture.
        foreground: bool (H, W), the person with all that is worn.
        parts: uint8 (H, W), index into `PART_NAMES`, 0 outside of the foreground.
        surface: float16 (H, W, 3), the place on the template's body in its rest pose, metres, that a pixel shows: the mean
            over the pixel's samples that see the person; 0 outside of the foreground.
    """

    spec: ViewSpec
    kind: str
    projection: Projection
    picture: np.ndarray
    pose: Pose
    foreground: np.ndarray
    parts: np.ndarray
    surface: np.ndarray


def motion_of(spec: ViewSpec) -> Motion:
    """The motion of a specification's pose seed; it depends on no body."""
    return sample_motion(np.random.default_rng([spec.pose_seed, 0x905E]))


def pose_motion(identity: Identity, motion: Motion) -> Posture:
    """A motion on the body of an identity."""
    return solve_motion(motion, identity.rig, identity.capsules)


def interpolate_motions(identity: Identity, first: Motion, second: Motion, share: float) -> Posture:
    """What an identity does between two motions: `first` at share 0, `second` at 1; a seat only if both need one."""
    start, end = pose_motion(identity, first), pose_motion(identity, second)
    rotations = interpolate_rotations(start.rotations, end.rotations, share)
    return Posture(
        kind=first.kind if share < 0.5 else second.kind,
        rotations=rotations,
        penetration=penetration(identity.rig, identity.capsules, rotations),
        needs_seat=first.needs_seat and second.needs_seat,
    )


def render_view(
    identity: Identity,
    spec: ViewSpec,
    height: int,
    width: int,
    *,
    motion: Motion | Posture | None = None,
    projection: Projection | None = None,
) -> View:
    """Render one view.

    Args:
        identity: who (`identity.make_identity`).
        spec: which pose, from where, in which shoot.
        height, width: pixels of the picture, at least 16.
        motion: in place of the motion of the specification's pose seed.
        projection: in place of a camera that frames this person as `spec.camera` says.

    Raises:
        ValueError: the picture is smaller than 16 pixels.
    """
    if min(height, width) < 16:
        raise ValueError(f"a view of {height}x{width} pixels is too small; each side must be at least 16")
    motion = motion or motion_of(spec)
    posture = pose_motion(identity, motion) if isinstance(motion, Motion) else motion
    mesh = _turned(pose_identity(identity, posture.rotations), turn(spec.yaw))
    if projection is None:
        camera = spec.camera if posture.kind not in DEEP_KINDS else replace(spec.camera, framing="full")
        projection = frame_person(camera, mesh.vertices, mesh.keypoints, height, width)
    if posture.needs_seat:
        mesh = _with_seat(mesh)

    shoot = make_shoot(spec.background, find_world(spec.world).plain)
    fine = replace(projection, focal=projection.focal * SUPERSAMPLING, centre=projection.centre * SUPERSAMPLING)
    pixels, depth = fine.project(mesh.vertices)
    closed = np.isin(mesh.material, _CLOSED)
    buffer = rasterize(pixels, depth, mesh.faces, height * SUPERSAMPLING, width * SUPERSAMPLING, one_sided=closed)
    seen = _seen(identity, shoot, mesh, buffer, forward=projection.rotation[1])
    ground = paint_backdrop(shoot, projection, mesh.vertices, height, width)

    fine_parts = np.zeros(buffer.triangle.shape, dtype=np.uint8)
    person = seen.material != _SEAT
    fine_parts.ravel()[seen.pixel[person]] = PART_OF_MATERIAL[seen.material[person]]
    parts = _majority_part(fine_parts)
    return View(
        spec=spec,
        kind=posture.kind,
        projection=projection,
        picture=draw_view(spec.style, shoot, ground, seen),
        pose=_seen_pose(mesh, fine, buffer, fine_parts),
        foreground=parts > 0,
        parts=parts,
        surface=_mean_place(seen, person, parts > 0),
    )


def _turned(mesh: PosedMesh, rotation: np.ndarray) -> PosedMesh:
    return replace(
        mesh,
        vertices=mesh.vertices @ rotation.T,
        normals=mesh.normals @ rotation.T,
        keypoints=mesh.keypoints @ rotation.T,
    )


def _with_seat(mesh: PosedMesh) -> PosedMesh:
    """The mesh and a stool under its hips."""
    middle = mesh.keypoints[list(_HIPS)].mean(0)
    above = np.linalg.norm(mesh.vertices[:, :2] - middle[:2], axis=1) < _SEAT_REACH
    vertices, normals, faces = stool(float(mesh.vertices[above, 2].min()) + 0.01, middle)
    count = len(vertices)
    return replace(
        mesh,
        vertices=np.concatenate([mesh.vertices, vertices]),
        normals=np.concatenate([mesh.normals, normals]),
        faces=np.concatenate([mesh.faces, faces + len(mesh.vertices)]),
        material=np.concatenate([mesh.material, np.full(len(faces), _SEAT, dtype=mesh.material.dtype)]),
        attributes=np.concatenate(
            [mesh.attributes, np.zeros((count, mesh.attributes.shape[1]), dtype=mesh.attributes.dtype)]
        ),
        limbs=np.concatenate([mesh.limbs, np.zeros(count, dtype=mesh.limbs.dtype)]),
    )


def _seen(identity: Identity, shoot: Shoot, mesh: PosedMesh, buffer: VisibilityBuffer, forward: np.ndarray) -> Seen:
    """What is seen through the pixels of the fine picture that the mesh covers."""
    triangle = buffer.triangle.ravel()
    pixel = np.flatnonzero(triangle >= 0)
    weights = buffer.barycentric.reshape(-1, 3).take(pixel, axis=0)
    # A sparse product interpolates in one pass: three gathers of numpy take twice the time.
    starts = np.arange(0, 3 * len(pixel) + 1, 3, dtype=np.int32)
    corners = mesh.faces.take(triangle[pixel], axis=0).astype(np.int32)
    interpolate = csr_matrix((weights.ravel(), corners.ravel(), starts), shape=(len(pixel), len(mesh.vertices)))
    normals = interpolate @ mesh.normals.astype(np.float32)
    normalize(normals)
    attributes, material = interpolate @ mesh.attributes, mesh.material[triangle[pixel]]
    albedo, specular = surface_colours(identity.look, material, attributes)
    seat = material == _SEAT
    albedo[seat], specular[seat] = shoot.seat, 0.05
    width = buffer.triangle.shape[1]
    return Seen(
        sampling=SUPERSAMPLING,
        pixel=pixel,
        coarse=pixel // (SUPERSAMPLING * width) * (width // SUPERSAMPLING) + pixel % width // SUPERSAMPLING,
        material=material,
        normals=normals,
        depth=buffer.depth.ravel()[pixel],
        rest=attributes[:, :3],
        albedo=albedo.clip(0, 1),
        specular=specular,
        forward=forward,
    )


def _seen_pose(mesh: PosedMesh, fine: Projection, buffer: VisibilityBuffer, fine_parts: np.ndarray) -> Pose:
    """Key points in the picture's pixels, and how well each is seen."""
    keypoints, depth = fine.project(mesh.keypoints)
    confidence = keypoint_confidence(keypoints, depth, buffer, mesh.faces, mesh.limbs, fine_parts)
    height, width = (side // SUPERSAMPLING for side in fine_parts.shape)
    points = np.concatenate([keypoints / SUPERSAMPLING, confidence[:, None]], 1).astype(np.float32)
    return Pose(points, width, height)


def _majority_part(fine: np.ndarray) -> np.ndarray:
    """The most frequent part of each pixel's samples where at least half of them see the person, else 0; (H, W)."""
    steps = range(SUPERSAMPLING)
    samples = [fine[row::SUPERSAMPLING, column::SUPERSAMPLING] for row in steps for column in steps]
    majority = samples[0].copy()
    # Only where samples differ are they counted: 0.4 ms instead of 4 for all pixels.
    mixed = np.logical_or.reduce([sample != majority for sample in samples[1:]])
    chosen = np.stack([sample[mixed] for sample in samples])
    counts = np.stack([(chosen == part).sum(0) for part in range(len(PART_NAMES))])
    covered = 2 * counts[0] <= len(samples)
    majority[mixed] = np.where(covered, 1 + counts[1:].argmax(0), 0)
    return majority


def _mean_place(seen: Seen, person: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Mean place on the template of each pixel's samples that see the person, float16 (H, W, 3)."""
    count = np.bincount(seen.coarse[person], minlength=foreground.size)
    shown = np.flatnonzero(count)
    result = np.zeros((foreground.size, 3), np.float16)
    for axis in range(3):
        sums = np.bincount(seen.coarse, seen.rest[:, axis])  # the stool's places are 0
        result[shown, axis] = sums[shown] / count[shown] * foreground.ravel()[shown]
    return result.reshape(*foreground.shape, 3)
