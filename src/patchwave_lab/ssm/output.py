"""How the agent cuts output. All sizes are characters."""

#: Most that CommandPlugins[].Output holds (service model; MaximumPluginOutputSize of the agent).
INLINE_LIMIT = 2500
#: Most that GetCommandInvocation returns of each stream (DefaultOutputConfig of the agent).
STDOUT_LIMIT, STDERR_LIMIT = 24_000, 8_000
SUFFIX = "--output truncated--"
ERROR_TITLE = "\n----------ERROR-------\n"
STDOUT_MARK = "\n---Output truncated---"
STDERR_MARK = "\n---Error truncated----"


def cut(text: str, limit: int) -> str:
    """At most `limit` characters, marked at the end where something is missing."""
    return text if len(text) <= limit else text[: limit - len(SUFFIX)] + SUFFIX


def combine(stdout: str, stderr: str, limit: int = INLINE_LIMIT) -> str:
    """Both streams in one text of at most `limit` characters, as ListCommandInvocations shows them."""
    title = ERROR_TITLE if stderr else ""
    room = limit - len(title)
    half = room // 2
    # Strictly less: the agent cuts a text that would just fit.
    if len(stdout) + len(stderr) < room:
        return stdout + title + stderr
    if len(stdout) > half and len(stderr) > half:
        each = (room - len(STDOUT_MARK) - len(STDERR_MARK)) // 2
        return stdout[:each] + STDOUT_MARK + title + stderr[:each] + STDERR_MARK
    if len(stdout) < half:
        return stdout + title + stderr[: room - len(STDERR_MARK) - len(stdout)] + STDERR_MARK
    return stdout[: max(0, room - len(STDOUT_MARK) - len(stderr))] + STDOUT_MARK + title + stderr
