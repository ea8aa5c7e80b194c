"""Writes the reference problem: 1000 synthetic hourly readings at a sluice gate and what was done with the gate.

Run by hand (`python schema/reference/make_reference.py`), never by the pipeline; the same bytes come out each time.

Six weather regimes lie on a circle in a plane of two hidden factors, and the ten sensors are noisy, squashed views of
that plane. Regimes that ask for the same action do not lie side by side, so no linear model separates the actions: a
converged logistic regression gets 0.52 of held-out rows right, where one hidden layer gets 0.95.
"""

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt

SEED = 20
NUM_ROWS = 1000
ACTIONS = ("hold", "release", "flush")
REGIME_ACTIONS = (
    0,
    1,
    2,
    0,
    2,
    1,
)  # index into ACTIONS of each regime, going round the circle
SENSORS = {  # name: lowest value, highest value, decimals
    "water_level_m": (0.4, 6.2, 3),
    "flow_rate_m3_s": (4.0, 380.0, 2),
    "rainfall_mm": (0.0, 64.0, 2),
    "gate_opening_pct": (0.0, 100.0, 2),
    "turbidity_ntu": (1.0, 850.0, 2),
    "conductivity_us_cm": (140.0, 2400.0, 1),
    "dissolved_oxygen_mg_l": (2.5, 13.5, 3),
    "ph": (5.9, 9.1, 3),
    "water_temperature_c": (0.2, 27.0, 2),
    "wind_speed_m_s": (0.0, 23.0, 2),
}
LABEL = "gate_action"


def make_readings(num_rows: int, seed: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Draws readings and actions.

    Args:
        num_rows: How many rows to draw.
        seed: Seed of the generator.

    Returns:
        Readings, float64 `[num_rows, 10]` in the sensors' units, and actions, int64 `[num_rows]`, indices into
        `ACTIONS`.
    """
    generator = np.random.default_rng(seed)
    regimes = generator.integers(len(REGIME_ACTIONS), size=num_rows)
    angles = 2 * np.pi * regimes / len(REGIME_ACTIONS)
    factors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    factors += generator.normal(scale=0.19, size=factors.shape)

    directions = np.linspace(0, np.pi, len(SENSORS), endpoint=False)
    loadings = np.stack([np.cos(directions), np.sin(directions)]) * np.resize([1, -1], len(SENSORS))
    signals = factors @ loadings + generator.normal(scale=0.3, size=(num_rows, len(SENSORS)))

    lowest, highest, _ = np.array(list(SENSORS.values())).T
    shares = 1 / (1 + np.exp(-1.5 * signals))
    return lowest + (highest - lowest) * shares, np.take(REGIME_ACTIONS, regimes)


def write_csv(csv_file: Path, num_rows: int = NUM_ROWS, seed: int = SEED) -> None:
    """Writes readings and actions to `csv_file`, one header line and `num_rows` lines."""
    readings, actions = make_readings(num_rows, seed)
    with csv_file.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*SENSORS, LABEL])
        for reading, action in zip(readings, actions, strict=True):
            cells = [
                f"{value:.{int(decimals)}f}" for value, (_, _, decimals) in zip(reading, SENSORS.values(), strict=True)
            ]
            writer.writerow([*cells, action])


if __name__ == "__main__":
    write_csv(Path(__file__).parent / "data" / "reference.csv")
