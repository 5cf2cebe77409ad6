"""Faults of sources: identity, direction and legs of what comes in; one answer, unchanged, to the right place."""

from __future__ import annotations

FAULTS: dict[str, tuple[str, str]] = {
    "kind_not_declared": (
        "Interactions come in of a kind that the capabilities do not name, or a declared kind never comes.",
        "Declare in `capabilities.kinds` what `normalise` gives, and keep a fixture for each kind.",
    ),
    "not_noticed": (
        "A customer writes and nobody is told.",
        "Let the webhook's events and `poll` both lead to the interaction, by themselves or by way of `Wanted`.",
    ),
    "webhook_and_poll_disagree": (
        "The same thing has another id, revision, author or text by webhook than by poll: it becomes two, or flickers "
        "between two revisions.",
        "Let every way in use the same function from the provider's object to the interaction.",
    ),
    "wrong_account": (
        "What was written to one brand's account lands with another.",
        "Set `account` from the delivery (whom the provider sent it for), as `account_of` names the connection's.",
    ),
    "author_wrong": (
        "The wrong person is the customer: two people's complaints share one history.",
        "Set `author.external_id` to the provider's stable id of who wrote it; never a name, a handle or the thread.",
    ),
    "private_read_as_public": (
        "A private message is treated as public, and so is the answer to it.",
        "Set `visibility` to private for every message, mention or post that not everybody can read.",
    ),
    "own_post_taken_for_customers": (
        "The brand's own posts open tickets; agents answer themselves.",
        "Compare the author's id with the account's, not names, and set `direction` to outbound.",
    ),
    "edit_ignored": (
        "A customer corrects their complaint and the agent answers the old text.",
        "Change `revision` with text, rating or media (`content_revision`), also where the edit comes by poll.",
    ),
    "edit_is_new_thing": (
        "An edit opens a second ticket.",
        "Keep `external_id` over edits; where the provider gives a new id, the first one stays and the others go to "
        "`supersedes`.",
    ),
    "edit_looks_older": (
        "The old text wins over the edited one, because the edit does not look newer.",
        "Set `edited_at` to the provider's time of the edit.",
    ),
    "deletion_ignored": (
        "A customer takes their post down and gets a public answer to it.",
        "Give `Deletion` with the same external id, or name it in `gone` when `fetch` finds it deleted.",
    ),
    "thread_lost": (
        "A customer's second message opens a second ticket.",
        "Set `in_reply_to` and, where the provider tells, `root` to external ids as other interactions carry them.",
    ),
    "no_way_to_answer": (
        "An agent's answer cannot be sent although the source takes answers.",
        "Give `reply_target` with its kind and ref for everything that can be answered.",
    ),
    "fetch_gives_nothing": (
        "What a delivery only names stays unknown: its wish is asked again and again, or settled without an answer.",
        "Let `fetch` give a page that names the ref in `answers` (or `gone`), for each wish and for many at once.",
    ),
    # out
    "answer_changed": (
        "The public reads something else than what was approved: cut, escaped, joined or decorated.",
        "Send `rendered.body` as it is; escape in `render`, once, as the provider asks.",
    ),
    "answer_to_wrong_place": (
        "The answer appears under another post or in another conversation.",
        "Send to `rendered.target`, never to a root, a parent or what was read last.",
    ),
    "answer_not_sent": (
        "Sending succeeds and nothing is published, or published twice.",
        "Make exactly the one request that publishes and give `Sent` with the id that the provider named.",
    ),
    "private_answered_in_public": (
        "What was said in private is answered where everybody reads it.",
        "Let `render` keep the draft's visibility and refuse (Rejected) a target of the other one.",
    ),
    "slot_overwritten": (
        "A colleague's answer in the one slot of a review vanishes, and nobody saw it.",
        "Where `one_slot` is claimed, look into the slot before sending; where another text is there, raise Hold "
        "with it once, and replace it when the same answer is sent again.",
    ),
    "sent_id_unknown": (
        "The echo of an answer is not recognised and opens a ticket, because its id is another than the one that "
        "`send` gave.",
        "Give in `Sent.external_id` the id that the interaction of this answer will have.",
    ),
    "render_not_pure": (
        "The same draft renders differently: what was approved is not what is sent.",
        "Let `render` depend on the draft and the configuration only.",
    ),
    "render_cuts": (
        "A text that is too long is cut silently.",
        "Never cut: measure `length` against `limit`, or raise Rejected with the limit named.",
    ),
    "limit_miscounted": (
        "The limit is counted in other units than the provider's: characters for bytes, code points for graphemes, "
        "short links at full length.",
        "Count with `gateway_schemas.length.length` in the provider's units, with the limit of this kind of answer.",
    ),
    "empty_answer_taken": (
        "An empty answer is sent, or fails only at the provider.",
        "Let `render` raise Rejected for a text of nothing but white space without files.",
    ),
    "window_ignored": (
        "An answer is sent although the provider's window is over, or the agent is not told when it closes.",
        "Set `reply_target.closes_at` for windows, and raise Rejected or Hold when the provider says that it is over.",
    ),
    "refusal_not_told": (
        "The provider refused the answer for good and the plugin tries again for ever, or believes it was sent.",
        "Raise Rejected (or Gone, Hold) for 400, 403, 404, 409 and 422, with what the provider says.",
    ),
    "rate_limited_answer_lost": (
        "An answer that met a rate limit is given up or sent again at once.",
        "Raise Retry with `after` from Retry-After; nothing was published.",
    ),
    "unknown_outcome_not_said": (
        "A failed response is taken for a failed post: the answer goes out twice.",
        "Raise Unknown whenever the request may have had its effect: 5xx, a lost connection, a time-out, an answer "
        "that cannot be read (`call(…, effect=True)`, `json_object(…, effect=True)`).",
    ),
    "sent_again_after_unknown": (
        "After an unknown outcome the plugin itself tries again, and the public reads two answers.",
        "Make the request once for each call of `send`; whether to try again is the host's business.",
    ),
    "not_sent_called_unknown": (
        "Nothing was sent, and yet a person is asked to look: every network hiccup stops the answers.",
        "Raise Retry when no connection could be made.",
    ),
    "found_not_found": (
        "An answer that is there is not found: it is sent once more.",
        "Let `find` look where the provider shows own posts, by mark, id or target and text as the provider shows it.",
    ),
    "found_another": (
        "Another answer is taken for the one that was looked for: this customer gets none.",
        "Compare the target, the account and the time with the text; an older answer of the same words is another one.",
    ),
    "absent_too_early": (
        "`find` says absent while the provider has not shown the answer yet.",
        "Declare in `index_lag` how long the provider takes to show what was published, or None; or give NotYet.",
    ),
    "find_failure_called_absent": (
        "The question failed and counts as no: the answer goes out twice.",
        "Let errors of the look-up pass; Absent only when the provider was asked and answered.",
    ),
    "idempotency_not_kept": (
        "`idempotent_send` is claimed and the same key publishes twice.",
        "Pass `key` on in the provider's own idempotency header or field, the same at every try.",
    ),
    "retract_does_nothing": (
        "An agent takes an answer back and it stays, or taking back one that is gone fails for ever.",
        "Delete what `sent.external_id` names; one that is gone already is as it should be (or Gone).",
    ),
    "amend_does_nothing": (
        "An agent corrects an answer: the old one stays, or a second one appears.",
        "Change what `sent.external_id` names, and give `Sent` with the id that holds from now on.",
    ),
    "claims_without_method": (
        "The capabilities claim what the plugin cannot do: agents are offered a button that fails.",
        "Declare what works: `reply` needs render and send, `delete` retract, `edit` amend, `invitations` "
        "claim_address, `poll` and `webhook` what their names say; `private` a direct message or a private comment.",
    ),
    "invitations_not_declared": (
        "`claim_address` is written, and nobody is ever invited, because the capabilities do not say so.",
        "Declare `invitations`.",
    ),
    "shared_delivery_unreadable": (
        "A callback shared by all accounts of an App cannot be read, because the App's instance has no configuration.",
        "Let `verify` and `normalise` of a shared webhook use `self.setup.app` alone.",
    ),
}
