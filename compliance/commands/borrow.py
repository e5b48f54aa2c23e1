# SPDX-License-Identifier: Apache-2.0
"""`borrow LENDER MINE`: write <MINE>.borrowed.toml, with the lender's hyperparameters and one's own batch."""

import argparse
import sys

from compliance.files import atomic_write
from compliance.files.errors import UserError
from compliance.reports.tables import printable
from compliance.submissions import borrowing


def run(arguments: argparse.Namespace) -> int:
    output = arguments.output or arguments.mine.with_name(f"{arguments.mine.stem}.borrowed.toml")
    if output.exists() and any(output.samefile(file) for file in (arguments.mine, arguments.lender)):
        raise UserError(f"{output}: would be overwritten; name another --output")
    borrowed = borrowing.borrow(arguments.lender, arguments.mine, arguments.benchmark)
    atomic_write.write(output, borrowed.text)
    for key in borrowed.left_out:
        print(
            f"left out: {printable(key)} (the lender does not have it; the reference's default is used)",
            file=sys.stderr,
        )
    print(printable(str(output)))
    return 0
