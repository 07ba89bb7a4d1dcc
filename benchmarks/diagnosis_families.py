"""The texts that worlds with planted flaws are made of. Rules were tuned on one family; the other was kept back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FactForm:
    """One form of statement, ``{name}`` and ``{value}`` open, and how it is asked for."""

    statement: str
    question: str
    unit: str
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Family:
    """One way of writing a world."""

    facts: Sequence[FactForm]
    filler: Sequence[str]
    """Sentences about ``{name}`` that no question asks for."""
    archive: str
    """How an outdated statement begins."""
    short: str
    """Asks for the value alone."""
    as_json: str
    """Asks for an object with value and unit."""
    openings: Sequence[str]
    tickets: Mapping[str, Sequence[str]]
    """Complaints by label."""
    triage: str
    """Asks for a label; ``{ticket}`` open."""
    policy: str
    """``{name}`` and ``{limit}`` open."""
    request: str
    """``{name}`` and ``{days}`` open: to be decided by the policy."""
    within: str
    beyond: str
    unsure: Sequence[str]
    wrapped: Sequence[str]
    """Broken forms around ``{answer}``."""


SHOP = Family(
    facts=(
        FactForm(
            "The {name} plan costs {value} per month.", "What does the {name} plan cost per month?", "EUR", 11, 990
        ),
        FactForm("A file in {name} may have at most {value}.", "How large may a file in {name} be?", "MB", 11, 990),
        FactForm("Backups of {name} are kept for {value}.", "How long are backups of {name} kept?", "days", 11, 400),
        FactForm(
            "The {name} API takes {value} per minute.",
            "How much does the {name} API take per minute?",
            "requests",
            100,
            9900,
        ),
        FactForm(
            "{name} answers support questions within {value}.",
            "How fast does {name} answer support questions?",
            "hours",
            11,
            99,
        ),
    ),
    filler=(
        "{name} is written by a small team.",
        "Many schools use {name} for their courses.",
        "{name} has a dark theme and a light one.",
        "The manual of {name} is translated into six languages.",
    ),
    archive="In the years before the merger this held: ",
    short="Answer with the value and its unit alone.",
    as_json='Answer with a JSON object that has "value" (a number) and "unit" (a text), and nothing else.',
    openings=("Hello,", "Dear team,", "Good morning.", "Since yesterday:", "Please help."),
    tickets={
        "billing": (
            "the invoice of {name} lists a seat twice.",
            "I was charged for {name} after the cancellation.",
            "the invoice shows the wrong tax for {name}.",
            "our card was charged two times for the {name} invoice.",
            "the refund for {name} is not on our card yet.",
            "the invoice of {name} has another company's address.",
        ),
        "access": (
            "I cannot sign in to {name} with my password.",
            "the password reset of {name} sends no mail.",
            "my account in {name} is locked after the sign in.",
            "the sign in page of {name} refuses my password.",
            "a new colleague has no account in {name} and cannot sign in.",
            "the second factor at the sign in of {name} fails for my account.",
        ),
        "bug": (
            "the export of {name} crashes with an error.",
            "{name} shows an error when a chart is opened.",
            "the editor of {name} crashes when text is pasted.",
            "an error appears in the chart of {name} and it freezes.",
            "the export of {name} writes an empty file and an error.",
            "{name} freezes and crashes in the editor.",
        ),
        "idea": (
            "it would be nice if {name} had a calendar.",
            "could you add a calendar view to {name}?",
            "we wish for a keyboard shortcut in {name}.",
            "please consider a shortcut for the search of {name}.",
            "it would be nice to add colours to the calendar of {name}.",
            "we wish {name} had a tablet version.",
        ),
    },
    triage="Which of billing, access, bug, idea is this ticket? Answer with that word alone.\n\n{ticket}",
    policy="Goods from {name} may be sent back within {limit} days.",
    request="A customer wants to send goods from {name} back after {days} days. Accept or refuse? Use one word.",
    within="accept",
    beyond="refuse",
    unsure=("I do not know that.", "The documents do not tell.", "I cannot say."),
    wrapped=(
        "Of course! The answer is {answer}, I think.",
        "**{answer}** - let me know whether that helps.",
        "```\n{answer}\n```",
        "Answer: {answer}",
    ),
)

CLINIC = Family(
    facts=(
        FactForm(
            "Ward {name} has room for {value}.", "For how many is there room in ward {name}?", "patients", 11, 990
        ),
        FactForm("At {name}, visits end after {value}.", "When do visits at {name} end?", "minutes", 11, 400),
        FactForm(
            "The pump in {name} delivers {value} an hour.",
            "What does the pump in {name} deliver an hour?",
            "litres",
            11,
            990,
        ),
        FactForm(
            "Samples from {name} keep for {value} when cooled.",
            "How long do cooled samples from {name} keep?",
            "weeks",
            11,
            90,
        ),
        FactForm(
            "Parking at {name} costs {value} a day.", "What is the daily price of parking at {name}?", "CHF", 11, 300
        ),
    ),
    filler=(
        "{name} lies on the east side of the garden.",
        "Meals in {name} come from the central kitchen.",
        "{name} was painted green by volunteers.",
        "There is a piano near {name}.",
    ),
    archive="Old notice, no longer valid: ",
    short="Give the amount with its unit and no other word.",
    as_json='Reply as {"value": number, "unit": text}, JSON and nothing around it.',
    openings=("Note:", "From the front desk:", "Reported today:", "A visitor writes:", "Night shift:"),
    tickets={
        "housekeeping": (
            "the floor near {name} is wet and was not mopped.",
            "bins in {name} overflow and smell.",
            "towels in {name} were not changed, the floor is dirty.",
            "somebody must mop the floor of {name}.",
            "the bins of {name} were not emptied.",
            "fresh towels are missing in {name}, and the bins are full.",
        ),
        "pharmacy": (
            "tablets for {name} were delivered in the wrong dose.",
            "the dose of the syrup for {name} is not on the label.",
            "{name} is out of tablets for pain.",
            "a prescription for {name} names a dose that does not exist.",
            "syrup and tablets for {name} were mixed up.",
            "the prescription for {name} has expired, the tablets too.",
        ),
        "technical": (
            "the lift to {name} stops between floors.",
            "lamps in {name} flicker and a socket sparks.",
            "the heating of {name} rattles and stays cold.",
            "a socket in {name} has no power.",
            "the heating in {name} leaks and the lamps are off.",
            "the lift at {name} makes a noise, its lamps are dark.",
        ),
        "appointments": (
            "a patient of {name} was booked on two slots at once.",
            "please move the booking at {name} to another slot.",
            "the calendar of {name} shows a slot in the past.",
            "a booking for {name} was cancelled without a call.",
            "nobody called about the moved slot at {name}.",
            "the booking of {name} is missing in the calendar.",
        ),
    },
    triage="{ticket}\n\nWho takes care of it: housekeeping, pharmacy, technical or appointments? One word.",
    policy="A referral to {name} is valid for {limit} days.",
    request="Somebody comes to {name} with a referral that is {days} days old. Is it admitted or declined? One word.",
    within="admitted",
    beyond="declined",
    unsure=("No information on that is available.", "I don't know.", "That is not stated in the documents."),
    wrapped=(
        "Sure - it should be {answer}. Anything else?",
        "<answer>{answer}</answer>",
        "Result:\n\n    {answer}\n\nDone.",
        "Thinking about it step by step, I arrive at {answer}",
    ),
)

FAMILIES: Mapping[str, Family] = {"shop": SHOP, "clinic": CLINIC}
TUNED_ON = "shop"
