"""Faults of helpdesks: one ticket and one comment for each, nothing said to the wrong people, agents followed."""

from __future__ import annotations

FAULTS: dict[str, tuple[str, str]] = {
    # what goes in
    "ticket_not_made": (
        "A complaint becomes no ticket, or two, or one without its text.",
        "Make exactly one ticket with the first comment as its description, and give `Done` with the helpdesk's id.",
    ),
    "comment_not_written": (
        "What the customer adds is not on the ticket, or is there twice, or on another one.",
        "Write each comment of the change once, to `change.external_id`, and name its id in `Done.comments`.",
    ),
    "comment_changed": (
        "Agents read something else than the customer wrote: cut, with entities, with markup run as HTML.",
        "Escape for the helpdesk's format once; keep line breaks, emoji and every character.",
    ),
    "comments_out_of_order": (
        "The conversation reads backwards.",
        "Write the comments of a change in their order, and changes in the order of the calls.",
    ),
    "wrong_requester": (
        "The ticket belongs to somebody else, or to the gateway's own user.",
        "Make the requester from `change.requester`: its external id identifies, its name is shown.",
    ),
    "customers_joined": (
        "Two customers of the same name share one contact: one reads what the other wrote.",
        "Find the helpdesk's user by `Requester.external_id` alone, never by name or handle.",
    ),
    "customer_doubled": (
        "One customer becomes a new contact with every ticket.",
        "Find the helpdesk's user by the external id before making one.",
    ),
    "address_invented": (
        "The helpdesk mails an invented address, or somebody else's.",
        "Make requesters without an e-mail address.",
    ),
    "private_comment_in_public": (
        "An internal note of the gateway is shown, and mailed, to the customer.",
        "Write `public=False` comments as the helpdesk's private notes.",
    ),
    "mark_missing": (
        "After a crash nobody can tell whether the comment was written: it is written twice.",
        "Write `OutgoingComment.key` with every comment where `find` can read it, also with the description.",
    ),
    "status_mapped_wrong": (
        "A status becomes another one at the helpdesk, or comes back as another one.",
        "Map every `TicketStatus` both ways, and keep one table for both.",
    ),
    "priority_mapped_wrong": (
        "An urgent ticket looks low, or comes back so.",
        "Map every `Priority` both ways, and keep one table for both.",
    ),
    "unchanged_value_written": (
        "A change of one thing resets another: the agent's status, priority or tags are lost.",
        "Write only what the change names; None leaves it as it is.",
    ),
    "tags_lost": (
        "Tags that agents set vanish with the next update, or ours are not removed.",
        "Add and remove tags by the helpdesk's own operation, or write what was just read with the difference.",
    ),
    "empty_change_fails": (
        "A change with nothing in it fails, or writes an empty comment; somebody merged our ticket into this one.",
        "Make the ticket known as ours (its tag) and give `Done`.",
    ),
    # exactly once
    "ticket_twice": (
        "The same key makes two tickets.",
        "Use the helpdesk's idempotency key where it has one, and let `find` see the ticket by its key where not.",
    ),
    "unknown_write_not_said": (
        "A failed response is taken for a failed write: the ticket or comment is written again.",
        'Raise Unknown (or give `Failed(error="unknown")`) whenever a write that must not be repeated may have '
        "happened: `call(…, effect=True)`, `json_object(…, effect=True)`.",
    ),
    "written_again_after_unknown": (
        "After an unknown outcome the plugin itself tries again and doubles the ticket or comment.",
        "Make each write once in a call of `push`; whether to try again is the host's business.",
    ),
    "unsent_write_called_unknown": (
        "Nothing was sent, and the change waits for a look-up.",
        "Raise Retry when no connection could be made.",
    ),
    "write_not_found": (
        "A ticket or comment that is there is not found: it is written twice.",
        "Look the ticket up by its key, and its comments by their marks, on every page.",
    ),
    "other_write_found": (
        "Something else is taken for the change: it is never written.",
        "Compare the whole mark; a quoted text, another ticket or a longer key is another thing.",
    ),
    "failed_lookup_called_absent": (
        "The look-up failed and counts as no: everything is written twice.",
        "Let errors of the look-up pass; an empty `FoundTicket` only when the helpdesk was asked and answered.",
    ),
    "write_absent_too_early": (
        "`find` sees nothing while the helpdesk's index has not seen it either.",
        "Look where the helpdesk reads its own writes, or declare `index_lag`.",
    ),
    "refused_write_not_told": (
        "The helpdesk refused the change for good and it is tried for ever, blocking the ticket.",
        "Raise Rejected (or Closed, Moved, Gone) for 400, 403, 404, 409 and 422, with what the helpdesk says.",
    ),
    "rate_limited_change_lost": (
        "A change that met a rate limit is given up or sent again at once.",
        "Raise Retry with `after` from Retry-After (and its bucket); nothing was written.",
    ),
    "bulk_failure_spreads": (
        "One bad change of a bulk takes the good ones along, or is taken for done.",
        "Give one result for each change, in any order, by its key; `Failed` for the bad one alone.",
    ),
    # what people do there
    "closed_not_told": (
        "A message to a closed ticket is lost, or reopens what was over.",
        'Raise Closed (or give `Failed(error="closed")`); the host opens a follow-up.',
    ),
    "merge_not_followed": (
        "A message to a merged ticket is lost, or fights the agent who merged it.",
        "Raise Moved with the ticket it went into, and give `TicketChanged(merged_into=…)`.",
    ),
    "deletion_not_told": (
        "A message to a deleted ticket is tried for ever, or the deletion is never known.",
        "Raise Gone, and give `TicketChanged(deleted=True)`.",
    ),
    "answer_not_noticed": (
        "An agent answers and the customer never hears it.",
        "Let the webhook and `poll` both lead to the ticket's comments, by way of `Wanted`.",
    ),
    "answer_read_wrong": (
        "What is published is not what the agent wrote: signed, quoted, cut, or with markup.",
        "Give the comment's text as the agent sees it, entities read back once, line breaks kept.",
    ),
    "answer_repeated": (
        "The same answer is told under two ids: it is published twice.",
        "Give each comment the id that the helpdesk gives it, by every way in.",
    ),
    "answers_author_missing": (
        "Nobody knows which agent answered.",
        "Give `AgentReply.author` with the helpdesk's id of the person.",
    ),
    "note_published": (
        "An internal note is published on the internet.",
        "Give private comments as `AgentNote`; when privacy cannot be told, it is private.",
    ),
    "own_comment_published": (
        "What the gateway wrote itself is taken for an agent's answer and published: an endless loop.",
        "Give `OwnComment` with its key for comments that carry our mark or were written by the API user.",
    ),
    "customers_comment_published": (
        "What the customer wrote at the helpdesk is published in the brand's name.",
        "Give `Ignored` (or nothing) for comments of the requester and other end users.",
    ),
    "rules_comment_published": (
        "An automation's text is published as if a person had answered.",
        "Tell by `origin` what wrote a comment: rule, merge, bulk, email, api; `composer` only for a person there.",
    ),
    "edit_of_note_published": (
        "A comment that was made private, or edited, is told as a new answer.",
        "Keep the comment's id and change `revision` with its text.",
    ),
    "foreign_ticket_read": (
        "Answers on tickets that have nothing to do with the gateway are published.",
        "Know our tickets by their key or tag, and ignore all others.",
    ),
    "person_fought": (
        "What an agent changed is changed back by the next update.",
        "Write what the change names and no more.",
    ),
    "change_not_noticed": (
        "An agent solves the ticket and the clocks run on.",
        "Give `TicketChanged` with status, priority and tags whenever the ticket was read.",
    ),
    "ticket_key_lost": (
        "A ticket cannot be told to be ours after a restore.",
        "Write `ticket_key` to the ticket and give it in `TicketChanged.ticket_key`, where the helpdesk has an "
        "external id.",
    ),
    "wanted_ticket_not_fetched": (
        "What a webhook only names stays unknown: its wish is asked again and again.",
        "Let `fetch` give pages that name each ref in `answers` (or `gone`), for one and for many at once.",
    ),
    "job_never_ends": (
        "A change that was taken as a job never gets its result.",
        "Let `resume` give Done or Failed once the helpdesk's job ended.",
    ),
}
