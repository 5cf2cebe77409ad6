"""Faults of policies: decisions that cannot be repeated, explained or relied on."""

from __future__ import annotations

FAULTS: dict[str, tuple[str, str]] = {
    "decides_differently_again": (
        "The same case is decided differently the second time: no decision can be reproduced.",
        "Keep nothing between calls; use no random number, no set's order and no id made on the way.",
    ),
    "case_changed": (
        "The policy changes the case it was given: those after it decide on something else.",
        "Treat `case` and everything in it as read-only; copy a dictionary before adding to it.",
    ),
    "clock_read": (
        "The decision depends on when it is asked: a backtest of last year says something else than last year.",
        "Take the time from `case.now` and the events' own times; never from the machine's clock.",
    ),
    "needs_not_declared": (
        "The policy reads a part of the case that it does not declare: in production that part is empty.",
        "Name in `needs` (or `needs_of`) all that is read: timeline, reader, customer, clocks, promises, incidents, "
        "window, lists, facts.",
    ),
    "bare_case_fails": (
        "A first message, a case without ticket, customer or history, fails the decision.",
        "Every part of a case may be empty or None; decide on what is there.",
    ),
    "odd_text_fails": (
        "An empty text, half an emoji or a text of emoji alone fails the decision.",
        "Take any text; count in code points, and never index into what may be empty.",
    ),
    "long_text_slow": (
        "A long text holds the process that decides until it is killed: every other reply waits.",
        "Decide in linear time: no regular expression that can backtrack, no loop inside a loop over one text.",
    ),
    "evidence_misplaced": (
        "The words that are marked for the agent are not those that the finding rests on.",
        "Give offsets in code points into the text as it is, so that `text[start:end]` is the evidence's `text`.",
    ),
    "finding_unexplained": (
        "The agent is stopped and not told why, or what to do.",
        "Give every finding a `message`; one that holds or blocks a `suggestion` too. `code` is stable: lower case, "
        "digits and underscores.",
    ),
    "coverage_claimed": (
        "A language that nobody reads counts as judged: the agent believes that the reply was checked.",
        "Hand `reading.coverage` on with findings that rest on a reading; where nothing was read, judge nothing.",
    ),
    "decision_not_storable": (
        "What the policy gives cannot be stored with the decision.",
        "Give findings and effects of the contract, with values that JSON has.",
    ),
    "params_undocumented": (
        "An admin must guess what a parameter does.",
        "Give every parameter a description (or title) and a default, so that the policy can be switched on as it is.",
    ),
    "params_unchecked": (
        "A misspelt parameter is taken silently: the rule that was meant never holds.",
        'Forbid unknown parameters (`extra="forbid"`).',
    ),
    "policy_undescribed": (
        "The admin's list shows a policy that says nothing about itself.",
        "Give `type` (lower case, underscores), `title`, `description`, `version` and a `default_mode` of on, shadow "
        "or off.",
    ),
    "point_not_recorded": (
        "A point at which the policy decides has no fixture: nobody looked at what it does there.",
        "Keep a fixture `in/<point>__<case>.json` for each of on_interaction, review_reply, on_own_post, on_ticket "
        "and on_clock that the class overrides.",
    ),
}
