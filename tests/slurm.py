"""Stand-ins for the programs of Slurm: its jobs are processes of this machine, which begin at once.

A job whose process was killed has ended here too, as Slurm would say, so that nobody waits for it for ever.
"""

import sys
from pathlib import Path

_PROGRAMS = {
    "sbatch": """
        import os, re, subprocess, sys
        script, own = sys.argv[1], os.path.dirname(os.path.abspath(__file__))
        text = open(script).read()
        open(own + "/asked", "w").write(text)
        array = re.search(r"--array=0-([0-9]+)", text)
        for task in range(int(array[1]) + 1) if array else [None]:
            job = {"SLURM_JOB_ID": "7"} if task is None else {
                "SLURM_JOB_ID": str(8 + task), "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": str(task)}
            again = f"{own}/again-7" + ("" if task is None else f"_{task}")
            ended = f"{own}/ended-" + ("7" if task is None else f"7_{task}")
            loop = f"bash {script}; while rm {again}; do bash {script}; done; touch {ended}"
            with open(f"{again}.out", "w") as out:
                subprocess.Popen(["bash", "-c", loop], env=os.environ | job, stdout=out, stderr=out,
                                 start_new_session=True)
        print("Submitted batch job 7")
    """,
    "srun": """
        import os, sys
        words = sys.argv[2:]  # --unbuffered
        while words[0] in ("--output", "--error"):
            words = words[2:]
        os.execvp(words[0], words)
    """,
    "scontrol": """
        import os, sys
        open(f"{os.path.dirname(os.path.abspath(__file__))}/again-{sys.argv[2]}", "w").close()
    """,
    "sacct": """
        import os
        own = os.path.dirname(os.path.abspath(__file__))
        print("JobID|State|NodeList")
        for job in ("7", *(f"7_{task}" for task in range(9))):
            print(job, "COMPLETED" if os.path.exists(f"{own}/ended-{job}") else "RUNNING", "here", sep="|")
    """,
}


def stand_in(folder: Path) -> Path:
    """Write the programs into a new folder, which is to be put in PATH; `asked` there is what sbatch was given last."""
    programs = folder / "slurm"
    programs.mkdir()
    for name, text in _PROGRAMS.items():
        lines = [line[8:] for line in text.strip("\n").splitlines()]
        (programs / name).write_text("\n".join([f"#!{sys.executable} -S", *lines, ""]))
        (programs / name).chmod(0o755)
    return programs
