"""Kinematics against a plain product of matrices, feet on the floor, and the test for limbs inside the body."""

from dataclasses import replace

import numpy as np
import pytest

from imagpose.people.body import load_body
from imagpose.people.collision import measure_capsules, penetration, segment_distances
from imagpose.people.kinematics import SIDES, Rig, arm_rotations, leg_rotations, rotation, unit
from imagpose.people.motion import KINDS, MAX_PENETRATION, interpolate_rotations, sample_motion, solve_motion
from imagpose.people.proportions import LIMB_SEGMENTS
from imagpose.people.stances import STANCES, stance_rotations


@pytest.fixture(scope="module")
def figure():
    body = load_body()
    rest = body.template
    used = np.unique(np.concatenate([body.faces["body"], body.faces["tights"]]))
    joints = dict(zip(body.joint_names, rest.joints, strict=True))
    keypoints = np.zeros((18, 3))
    for index, name in ((5, "left_shoulder"), (2, "right_shoulder"), (11, "left_hip"), (8, "right_hip")):
        keypoints[index] = joints[name]
    keypoints[1] = (keypoints[5] + keypoints[2]) / 2
    rig = Rig(body.bone_names, body.bone_parents, rest.bone_heads.astype(float), float(rest.vertices[used, 2].min()))
    return rig, measure_capsules(rest.vertices[used], keypoints, dict.fromkeys(LIMB_SEGMENTS, 1.0))


def posture(figure, seed, *kinds):
    return solve_motion(sample_motion(np.random.default_rng(seed), kinds or tuple(KINDS)), *figure)


def plain_heads(rig, rotations):
    """Posed heads of all bones: one 4x4 matrix per bone, every chain multiplied out from the root for itself."""
    heads = {}
    for bone, name in enumerate(rig.names):
        chain, ancestor = [], bone
        while ancestor >= 0:
            chain.append(ancestor)
            ancestor = rig.parents[ancestor]
        matrix = np.eye(4)
        for link in reversed(chain):
            head, turn = rig.heads[link], rotations.get(rig.names[link], np.eye(3))
            to, turned, back = np.eye(4), np.eye(4), np.eye(4)
            to[:3, 3], turned[:3, :3], back[:3, 3] = head, turn, -head
            matrix = matrix @ to @ turned @ back
        heads[name] = (matrix @ [*rig.heads[bone], 1])[:3]
    return heads


def test_forward_kinematics_equals_the_product_of_matrices(figure):
    rig, _ = figure
    rotations = posture(figure, 3, "walk").rotations
    heads = plain_heads(rig, rotations)
    motions = rig.forward(rotations)
    for name, motion in zip(rig.names, motions.all(), strict=True):
        turn, shift = motions[name]
        np.testing.assert_allclose(turn @ rig.head(name) + shift, heads[name], atol=1e-9)
        np.testing.assert_array_equal(motion, np.column_stack([turn, shift]))


@pytest.mark.parametrize("side", SIDES)
def test_arms_point_where_they_are_told_and_the_elbow_is_a_hinge(figure, side):
    rig, _ = figure
    rng = np.random.default_rng(0)
    for _ in range(20):
        upper, forearm = unit(rng.normal(size=3)), unit(rng.normal(size=3))
        if abs(upper @ forearm) > 0.95:
            continue
        rotations = arm_rotations(rig, side, upper, forearm)
        heads = plain_heads(rig, rotations)
        shoulder, elbow, wrist = (heads[bone + side] for bone in ("upperarm01", "lowerarm01", "wrist"))
        # upperarm02's head lies off the straight line by less than a degree, and takes half of the twist with it
        assert unit(elbow - shoulder) @ upper > np.cos(np.radians(2.0))
        assert unit(wrist - elbow) @ forearm > np.cos(np.radians(3.0))
        rest = [rig.head(bone + side) for bone in ("upperarm01", "lowerarm01", "wrist")]
        hinge = unit(np.cross(rest[1] - rest[0], rest[2] - rest[1]))
        np.testing.assert_allclose(rotations["lowerarm01" + side] @ hinge, hinge, atol=1e-9)


def test_legs_reach_their_goal_with_the_knee_in_front_and_the_foot_as_told(figure):
    rig, _ = figure
    hip = rig.head("upperleg01.L")
    goal, foot = hip + [0.05, -0.30, -0.55], rotation((0, 0, 1), 15)
    rotations = leg_rotations(rig, ".L", np.eye(3), hip, goal, np.array([0.0, -1.0, 0.3]), foot)
    heads = plain_heads(rig, rotations)
    np.testing.assert_allclose(heads["foot.L"], goal, atol=0.003)
    assert heads["lowerleg01.L"][1] < (hip[1] + goal[1]) / 2 - 0.1
    np.testing.assert_allclose(rig.forward(rotations)["foot.L"][0], foot, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in STANCES if name != "run"])
def test_both_feet_stand_on_the_floor(figure, name):
    """The lowest of heel and ball is at one height for both feet, but for a foot that swings in a walk."""
    rig, _ = figure
    for seed in range(8):
        stance = STANCES[name](np.random.default_rng(seed))
        motion = rig.forward(stance_rotations(rig, stance))
        lowest = []
        for side in SIDES:
            if stance.feet[side].lift:
                continue
            ball, ankle = rig.head("toe2-1" + side), rig.head("foot" + side)
            points = np.array([[*ball[:2], rig.sole], [ankle[0], ankle[1] + 0.05, rig.sole]])
            turn, shift = motion["foot" + side]
            lowest.append((points @ turn.T + shift)[:, 2].min())
        assert np.ptp(lowest) < 0.012


def test_segment_distances_equal_a_dense_search():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(2, 30, 2, 3))
    second[0, 1] = second[0, 0]  # a point
    second[1] = first[1] + 0.5  # parallel
    share = np.linspace(0, 1, 301)
    for a, b, distance in zip(first, second, segment_distances(first, second), strict=True):
        on_a = a[0] + share[:, None] * (a[1] - a[0])
        on_b = b[0] + share[:, None] * (b[1] - b[0])
        dense = np.linalg.norm(on_a[:, None] - on_b[None], axis=-1).min()
        assert dense - 0.02 < distance <= dense + 1e-9


def test_a_hand_in_the_belly_and_crossed_legs_are_found(figure):
    rig, capsules = figure
    assert penetration(rig, capsules, {}) < 0  # the A-pose is free
    through = arm_rotations(rig, ".L", unit(np.array([0.3, -0.2, -1.0])), unit(np.array([-1.0, 0.4, -0.2])))
    assert penetration(rig, capsules, through) > 0.05
    knock = {"upperleg01.L": rotation((0, 1, 0), 20), "upperleg01.R": rotation((0, 1, 0), -20)}
    assert penetration(rig, capsules, knock) > 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_no_limb_passes_through_the_body(figure, kind):
    rig, capsules = figure
    for seed in range(10):
        drawn = posture(figure, seed, kind)
        assert drawn.kind == kind
        assert drawn.penetration == penetration(rig, capsules, drawn.rotations) < MAX_PENETRATION


def test_a_body_that_cannot_do_a_motion_is_told_by_its_penetration(figure):
    rig, capsules = figure
    ends = capsules.trunk["waist"][1]
    barrel = replace(capsules, trunk={**capsules.trunk, "waist": ("spine04", ends, 0.6)})
    drawn = posture((rig, barrel), 0, "clasp")
    assert drawn.kind == "clasp" and drawn.penetration >= MAX_PENETRATION


def test_the_same_seed_gives_the_same_pose_and_seeds_differ(figure):
    first, again, other = (posture(figure, seed) for seed in (5, 5, 6))
    assert first.kind == again.kind
    assert all(np.array_equal(first.rotations[bone], again.rotations[bone]) for bone in first.rotations)
    assert any(not np.array_equal(first.rotations[bone], other.rotations.get(bone)) for bone in first.rotations)
    assert len(KINDS) >= 15


def test_every_rotation_is_a_rotation_of_a_bone(figure):
    rig, _ = figure
    for kind in KINDS:
        for bone, turn in posture(figure, 1, kind).rotations.items():
            assert bone in rig.names
            np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)
            assert np.linalg.det(turn) > 0


@pytest.mark.parametrize("kind", ["clasp", "hips", "phone", "sit", "crossed"])
def test_one_motion_on_two_bodies_has_one_head_and_stance_and_hands_at_each_bodys_own_goal(figure, kind):
    """A thicker trunk moves the arms and nothing else."""
    rig, capsules = figure
    motion = sample_motion(np.random.default_rng(2), (kind,))
    plain = solve_motion(motion, rig, capsules)
    trunk = {level: (bone, ends, radius + 0.05) for level, (bone, ends, radius) in capsules.trunk.items()}
    stout = solve_motion(motion, rig, replace(capsules, trunk=trunk))
    assert stout.kind == plain.kind == kind and stout.rotations.keys() == plain.rotations.keys()
    arms = ("clavicle", "upperarm", "lowerarm")
    for bone, turn in plain.rotations.items():
        if not bone.startswith(arms):
            np.testing.assert_array_equal(turn, stout.rotations[bone], err_msg=bone)
    if kind in ("clasp", "hips", "crossed"):
        heads = [plain_heads(rig, solved.rotations) for solved in (plain, stout)]
        assert np.linalg.norm(heads[0]["wrist.L"] - heads[1]["wrist.L"]) > 0.03


def test_interpolation_ends_at_both_poses_and_halves_every_angle(figure):
    first, second = (posture(figure, seed, kind).rotations for seed, kind in ((1, "walk"), (2, "crouch")))

    def angle(a, b):
        return np.degrees(np.arccos(np.clip((np.trace(a.T @ b) - 1) / 2, -1, 1)))

    start, middle, end = (interpolate_rotations(first, second, share) for share in (0.0, 0.5, 1.0))
    turned = []
    for bone in first | second:
        a, b = first.get(bone, np.eye(3)), second.get(bone, np.eye(3))
        np.testing.assert_allclose(start[bone], a, atol=1e-9)
        np.testing.assert_allclose(end[bone], b, atol=1e-9)
        whole = angle(a, b)
        np.testing.assert_allclose([angle(a, middle[bone]), angle(middle[bone], b)], whole / 2, atol=0.01)
        turned.append(whole)
    assert max(turned) > 40
