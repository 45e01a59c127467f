"""Every reason for which data are turned away.

    Rejected                      the data: told to the user, never retried
      NotDicom                    a file that is no readable DICOM object
      IncompleteSeries            slices missing, doubled, or of several kinds
      NoUsablePet                 no attenuation-corrected static PET in the study
      NoUsableCt                  no CT that shares the PET's frame of reference and covers it
      UnknownTracer               neither FDG nor PentixaFor can be shown
      NotQuantifiable             the header does not allow SUV
      IdentityConflict            one PatientID, two people
      NotAPair                    two studies that cannot be compared
      UnusableImage               voxels that cannot be analysed (empty, no body, no overlap)
      ModelUnavailable            a network that is asked for and may not or cannot be loaded
      BadSettings                 a setting, table or file of the user's that is wrong

Everything else that is raised is the system, and is retried.
"""


class Rejected(Exception):
    """The data cannot be used; the message says what, where, and what to do, in one sentence."""

    @property
    def reason(self) -> str:
        """The class name: a stable word for the journal and for tests."""
        return type(self).__name__


class NotDicom(Rejected):
    """A file that is no readable DICOM object."""


class IncompleteSeries(Rejected):
    """Slices of a series are missing, doubled, or do not belong together."""


class NoUsablePet(Rejected):
    """The study holds no attenuation-corrected static PET."""


class NoUsableCt(Rejected):
    """The study holds no CT that shares the PET's frame of reference and covers it."""


class UnknownTracer(Rejected):
    """Neither FDG nor PentixaFor can be shown from the headers."""


class NotQuantifiable(Rejected):
    """The header does not allow a standardised uptake value."""


class IdentityConflict(Rejected):
    """Two studies bear one PatientID and describe two people."""


class NotAPair(Rejected):
    """Two studies cannot be compared as a dual-tracer pair."""


class UnusableImage(Rejected):
    """The voxels cannot be analysed."""


class ModelUnavailable(Rejected):
    """A network is asked for whose files are missing, damaged, or not on the list of allowed SHA-256."""


class BadSettings(Rejected):
    """A setting, table or file given by the user is wrong."""
