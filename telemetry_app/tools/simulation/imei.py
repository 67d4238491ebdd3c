# A type allocation code of Teltonika's; the rest of the number is made up.
_TYPE_ALLOCATION_CODE = "35630704"
_SERIAL_DIGITS = 6


def imei(number: int) -> str:
    """Return the IMEI of the `number`th made-up tracker: 15 digits, the last one by Luhn's formula.

    Args:
        number: 0 to 999,999.
    """
    body = f"{_TYPE_ALLOCATION_CODE}{number:0{_SERIAL_DIGITS}d}"
    return f"{body}{_check_digit(body)}"


def _check_digit(body: str) -> int:
    # From the right, where the check digit itself will stand, each second digit counts twice.
    doubled = (2 * int(digit) for digit in body[::-2])
    plain = (int(digit) for digit in body[-2::-2])
    total = sum(value - 9 if value > 9 else value for value in doubled) + sum(plain)  # noqa: PLR2004 - one digit
    return -total % 10
