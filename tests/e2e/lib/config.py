"""--check-config of a configuration, and what it refuses."""

import json

from lib.daemon import run_daemon


def check(tmp_path, config, *args, env=None):
    """--check-config with the given configuration: text as it is, anything else as JSON."""
    path = tmp_path / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config, indent=2))
    return run_daemon(["--check-config", "--config", str(path), "--data-dir", str(tmp_path / "data"), *args], env)


def refused(tmp_path, config, *words, **options):
    """The configuration is refused with 78, and the reason has all the words."""
    code, output, errors = check(tmp_path, config, **options)
    assert code == 78, (code, output, errors)
    for word in words:
        assert word in errors, errors
    return errors


def settings_of(output):
    """What --check-config printed, as a map of key to (value, source)."""
    found = {}
    for line in output.splitlines():
        key, equals, rest = line.partition(" = ")
        if equals and not line.startswith("#"):
            value, _, source = rest.rpartition("  (")
            found[key] = (value, source.rstrip(")"))
    return found
