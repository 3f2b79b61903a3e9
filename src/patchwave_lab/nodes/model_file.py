"""Reads how virtual nodes answer, from a scenario file."""

from dataclasses import fields
from typing import Any

from patchwave_lab.errors import LabError
from patchwave_lab.nodes.latency import Answer, Distribution, Model
from patchwave_lab.strict import known, mapping, number


def parse(source: str, where: str, value: Any) -> Model | None:
    """`false`: no virtual node; `true`: one with the defaults; a mapping changes these."""
    if isinstance(value, bool):
        return Model() if value else None
    raw = mapping(source, where, value)
    known(source, f"{where}.", raw, {each.name for each in fields(Model)})
    chosen: dict[str, Any] = {
        key: _distribution(source, f"{where}.{key}", raw[key]) for key in ("delivery", "run", "reply") if key in raw
    }
    if "seed" in raw:
        chosen["seed"] = int(number(source, f"{where}.seed", raw["seed"]))
    answers = raw.get("answers", [])
    if not isinstance(answers, list):
        raise LabError(f"{source}: {where}.answers: must be a list")
    return Model(
        **chosen,
        answers=tuple(_answer(source, f"{where}.answers[{place}]", each) for place, each in enumerate(answers)),
    )


def _distribution(source: str, where: str, value: Any) -> Distribution:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Distribution("constant", number(source, where, value))
    raw = mapping(source, where, value)
    known(source, f"{where}.", raw, {"uniform", "lognormal"})
    for kind, pair in raw.items():
        if isinstance(pair, list) and len(pair) == 2:
            low = 0.0 if kind == "uniform" else 1e-6
            first, second = number(source, where, pair[0], low), number(source, where, pair[1])
            return Distribution(str(kind), first, second)
    raise LabError(f"{source}: {where}: must be seconds, {{uniform: [from, to]}} or {{lognormal: [median, sigma]}}")


def _answer(source: str, where: str, value: Any) -> Answer:
    raw = dict(mapping(source, where, value))
    known(source, f"{where}.", raw, {each.name for each in fields(Answer)})
    for key in ("stdout", "stderr"):
        if not isinstance(raw.get(key, ""), str):
            raise LabError(f"{source}: {where}.{key}: must be text")
    raw["exit_code"] = int(number(source, f"{where}.exit_code", raw.get("exit_code", 0), 0, 255))
    raw["share"] = number(source, f"{where}.share", raw.get("share", 1), 0, 1)
    return Answer(**raw)
