"""A digital dual-tracer patient with known answers: `make_patient(PhantomSettings(seed=1))`."""

from analysis.phantom.patient import make_patient
from analysis.phantom.traps import Trap
from analysis.phantom.values import DigitalPatient, PhantomSettings, Preset

__all__ = ["DigitalPatient", "PhantomSettings", "Preset", "Trap", "make_patient"]
