"""Why a backup or a restore does not happen. Each text is one sentence for the operator."""


class BackupError(Exception):
    """Base of what backup and restore raise besides the errors of the state, the artifact store and the index."""


class VaultUnavailable(BackupError):
    """The place of the backups cannot be read or written."""


class BackupInvalid(BackupError):
    """There is no such backup, it is damaged, or a newer Loraplex made it."""


class NotEmpty(BackupError):
    """The installation that is to be restored into holds something already."""


class PassagesUnreadable(BackupError):
    """The passages in the index cannot be read from here."""
