"""Limits that containers and clusters set, in made-up trees as both versions of control groups lay them out."""

import os

import pytest

from gan_runner.machine.control_groups import cpu_quota, memory_left
from gan_runner.machine.cores import cores

GIB = 2**30
V1 = "36 25 0:30 {root} {cgroups}/{controllers} rw shared:9 - cgroup cgroup rw,{controllers}\n"
V2 = "41 31 0:38 {root} {cgroups} rw,relatime - cgroup2 cgroup2 rw\n"
OTHERS = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 22 0:26 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n"


@pytest.fixture
def tree(tmp_path):
    """Lays out files below `cgroups`, and what the kernel says of this process's groups; gives the folder with that."""

    def made(membership, mounts, files):
        (tmp_path / "cgroups").mkdir(exist_ok=True)
        for name, content in files.items():
            path = tmp_path / "cgroups" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{content}\n")
        (tmp_path / "cgroup").write_text(membership)
        if mounts is not None:
            (tmp_path / "mountinfo").write_text(OTHERS + mounts)
        return tmp_path

    return made


def v1(tmp_path, controllers, root="/"):
    return V1.format(root=root, cgroups=tmp_path / "cgroups", controllers=controllers)


def v2(tmp_path, root="/"):
    return V2.format(root=root, cgroups=tmp_path / "cgroups")


@pytest.mark.parametrize(("own", "outer", "cores"), [("150000 100000", "max 100000", 1.5), ("max 5", "20 10", 2.0)])
def test_the_tightest_quota_of_version_2_counts_wherever_it_is_set(tree, tmp_path, own, outer, cores):
    files = {"pods/one/cpu.max": own, "pods/cpu.max": outer, "cgroup.procs": ""}
    assert cpu_quota(tree("0::/pods/one\n", v2(tmp_path), files)) == cores


@pytest.mark.parametrize(("own", "outer", "cores"), [("250000", "-1", 2.5), ("-1", "50000", 0.5)])
def test_the_tightest_quota_of_version_1_counts_wherever_it_is_set(tree, tmp_path, own, outer, cores):
    files = {f"cpu,cpuacct/job/{name}": value for name, value in quota_files("step", own).items()}
    files |= {f"cpu,cpuacct/{name}": value for name, value in quota_files("job", outer).items()}
    assert cpu_quota(tree("7:cpu,cpuacct:/job/step\n0::/\n", v1(tmp_path, "cpu,cpuacct"), files)) == cores


def quota_files(group, quota):
    return {f"{group}/cpu.cfs_quota_us": quota, f"{group}/cpu.cfs_period_us": "100000"}


def test_a_container_sees_its_own_group_at_the_mount_although_its_path_counts_from_outside(tree, tmp_path):
    files = {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}
    assert cpu_quota(tree("4:cpu:/docker/abc\n", v1(tmp_path, "cpu", "/docker/abc"), files)) == 3.0
    assert cpu_quota(tree("0::/docker/abc\n", v2(tmp_path, "/elsewhere"), {"cpu.max": "400000 100000"})) == 4.0


@pytest.mark.parametrize(("quota", "expected"), [("10", 1), ("100", 1), ("199", 1), ("200", 2), ("6400", 4)])
def test_a_quota_counts_as_the_whole_cores_that_it_allows(tree, tmp_path, monkeypatch, quota, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)), raising=False)
    assert cores(tree("0::/\n", v2(tmp_path), {"cpu.max": f"{quota} 100"})) == expected


def test_memory_of_version_2_is_what_the_tightest_limit_leaves_plus_reclaimable_pages(tree, tmp_path):
    files = {
        "one/memory.max": "max",
        "one/memory.current": GIB,
        "memory.max": 4 * GIB,
        "memory.current": 3 * GIB,
        "memory.stat": f"anon 5\ninactive_file {GIB // 2}\nactive_file 7",
    }
    assert memory_left(tree("0::/one\n", v2(tmp_path), files)) == 1.5 * GIB


def test_memory_of_version_1_is_what_the_tightest_limit_leaves_plus_reclaimable_pages(tree, tmp_path):
    without = 9223372036854771712
    files = {
        "memory/job/memory.limit_in_bytes": 2 * GIB,
        "memory/job/memory.usage_in_bytes": GIB,
        "memory/job/memory.stat": f"inactive_file 3\ntotal_inactive_file {GIB // 4}",
        "memory/memory.limit_in_bytes": without,
        "memory/memory.usage_in_bytes": 9 * GIB,
    }
    assert memory_left(tree("4:memory:/job\n", v1(tmp_path, "memory"), files)) == 1.25 * GIB


def test_on_a_machine_with_both_versions_the_limits_of_both_count(tree, tmp_path):
    files = {"cpu/job/cpu.cfs_quota_us": "200000", "cpu/job/cpu.cfs_period_us": "100000", "cpu.max": "100000 100000"}
    mounts = v1(tmp_path, "cpu") + v2(tmp_path)
    assert cpu_quota(tree("3:cpu:/job\n0::/\n", mounts, files)) == 1.0


@pytest.mark.parametrize("membership", ["", "0::/\n", "4:memory:/a\n3:cpu:/a\n", "9:name=systemd:/\n"])
def test_without_a_readable_limit_there_is_no_limit(tree, tmp_path, membership):
    assert cpu_quota(tree(membership, None, {})) is None  # as in a container without /proc
    for mounts in ("", v2(tmp_path), v1(tmp_path, "cpu") + v1(tmp_path, "memory")):
        proc = tree(membership, mounts, {"a/b": ""})
        assert cpu_quota(proc) is None
        assert memory_left(proc) is None


@pytest.mark.parametrize("text", ["", "max", "nonsense", "0 0", "-1 100000"])
def test_nonsensical_files_are_no_limit(tree, tmp_path, text):
    files = {"cpu.max": text, "memory.max": text}
    proc = tree("0::/\n", v2(tmp_path), files)
    assert (cpu_quota(proc), memory_left(proc)) == (None, None)
