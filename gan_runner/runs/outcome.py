"""The state of a run so far, for its summary.json."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from gan_runner.training.loop import Run


def outcome_of(run: Run) -> dict[str, Any]:
    """How far the run is, how fast it was, its best and last metrics, and its alarms."""
    experiment, progress, best = run.experiment, run.progress, run.best
    images, compute, evaluation = experiment.images, experiment.compute, experiment.evaluation
    return {
        "iterations": progress.iteration,
        "epochs": round(run.epochs, 4),
        "d_steps": progress.d_steps,
        "g_steps": progress.g_steps,
        "images": progress.images,
        "seconds": round(run.seconds, 3),
        "images_per_second": round(progress.images_played(experiment.settings) / run.seconds, 1),
        "device": str(compute.device),
        "threads": run.threads.number,
        "thread_changes": run.threads.changes,
        "processes": experiment.world.size,
        "precision": compute.precision,
        "data": {"name": images.name, "fingerprint": images.fingerprint, "count": len(images)},
        **({"real": evaluation.real.as_dict()} if evaluation.real is not None else {}),
        "best": best.found,
        "metrics": best.metrics,
        "objective": best.found["value"] if best.found else None,
        "objective_name": evaluation.objective,
        "goal": evaluation.goal,
        "evaluation": evaluation.fingerprint,
        "alarms": [asdict(alarm) for alarm in experiment.watch.raised],
    }
