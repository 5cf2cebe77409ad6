"""Faults of sources and helpdesks alike: what is read, who is believed, what is kept secret, how errors are named."""

from __future__ import annotations

RECORDED: dict[str, tuple[str, str]] = {
    "golden_differs": (
        "What was recorded is read, or decided, otherwise than was looked at and approved.",
        "Read the difference. Mend the plugin, or, where the new result is right, write it with "
        "`python -m gateway_schemas.testing.goldens FIXTURES --plugin module:Class --write`.",
    ),
    "fixture_incomplete": (
        "A fixture without its golden, or a golden without its fixture, tests nothing.",
        "Keep `in/<event>__<case>.http` (or `.json`) and `in/<event>__<case>.golden.json` together; write missing "
        "goldens with the goldens command and read what they say; name each fixture's source in `SOURCES.md`.",
    ),
}
"""Of everything that has recorded fixtures, policies too."""

FAULTS: dict[str, tuple[str, str]] = {
    # what deliveries say
    "normalise_not_pure": (
        "The same delivery says something else the second time: a replay makes another ticket.",
        "Let `normalise` depend on the delivery and the configuration only: no clock, no random ids, no memory of "
        "earlier deliveries, no change of `delivery.note`.",
    ),
    "unknown_event_not_ignored": (
        "The provider adds an event, and deliveries fail or become something they are not.",
        "Give `Ignored` with the event's name as reason for what you do not know. Keep a fixture whose case begins "
        "with `unknown`, whose golden is nothing but `Ignored`.",
    ),
    "extra_field_not_tolerated": (
        "The provider adds a field, and every delivery fails from that evening on.",
        'Let models of the provider\'s payloads ignore unknown fields (`extra="ignore"`), and read no meaning into a '
        "field only because it is there.",
    ),
    "truncated_body_crashes": (
        "A body that was cut off ends as a bug of the plugin instead of a failed delivery with its reason.",
        "Raise Malformed when the body cannot be read.",
    ),
    "empty_body_crashes": (
        "An empty body, or an empty document, ends as a bug of the plugin.",
        "Raise Malformed, or give `Ignored` with a reason; never index into what may be empty.",
    ),
    "hostile_body_crashes": (
        "A value of another type than documented (null, a list, a huge number, half an emoji) ends as a bug of the "
        "plugin, and takes the rest of the delivery with it.",
        "Validate with models. Raise Malformed for the delivery as a whole, or give `Unreadable` for the part.",
    ),
    "huge_body_slow": (
        "A long text or a deep document holds the process that reads deliveries for seconds, or ends it.",
        "Read in linear time: no regular expression that can backtrack, no loop inside a loop over the same text, and "
        "RecursionError is Malformed.",
    ),
    "broken_item_takes_others_along": (
        "One broken item in a list fails the whole delivery: ninety-nine complaints are not seen.",
        "Read lists item by item; give `Unreadable` for the broken one beside the others.",
    ),
    "id_through_float": (
        "Ids above 2^53 lose their last digits: two things become one, and answers go to a stranger.",
        "Keep ids as text or int from the parser on; never let them pass through float or a JSON library that does.",
    ),
    "time_wrong": (
        "The time of the event is off: clocks of service levels start hours early or late.",
        "Read the provider's time with its zone, in its unit (seconds or milliseconds); a time without a zone has the "
        "one that the provider documents. Never take the time of arrival where the provider tells the event's.",
    ),
    "text_changed": (
        "What people wrote arrives cut, doubled, with markup in it or with `&amp;` in place of &.",
        "Take the text as its author typed it: read entities back once, turn the provider's markup into plain text, "
        "keep line breaks and emoji, and cut nothing.",
    ),
    # who is believed
    "genuine_refused": (
        "A webhook that the provider signed is refused: the channel is silent.",
        "Check over the raw bytes received, with the provider's digest, encoding and prefix; look headers up without "
        "regard to case; accept each of several secrets while one is rotated.",
    ),
    "forged_accepted": (
        "Anybody who knows the door's address can write in customers' names.",
        "Check the signature of every request in `verify` with `gateway_schemas.signatures`, before anything is "
        "believed of it, and raise Unverified.",
    ),
    "unsigned_accepted": (
        "A request without a signature is taken: signing is optional for attackers.",
        "Raise Unverified when the signature's header is missing or empty.",
    ),
    "foreign_secret_accepted": (
        "A request signed with another secret is taken: the secret is not part of the check, or an empty one is.",
        "Compute the signature with the connection's (or App's) own secret and compare all of it, in constant time.",
    ),
    "altered_body_accepted": (
        "A signature over one body is good for another one.",
        "Sign the raw bytes as they came, all of them; never a parsed and rewritten body, a part or a prefix.",
    ),
    "stale_accepted": (
        "A recorded request can be sent again years later.",
        "Check the signed time against `request.received_at` with `check_window`, in both directions.",
    ),
    "challenge_unanswered": (
        "The provider's challenge is answered wrongly, and it never sends anything.",
        "Give the WebhookResponse that the provider documents; keep a fixture `…__challenge.http` with its golden.",
    ),
    # secrets
    "secret_not_typed": (
        "A secret stands in logs and tracebacks, and unencrypted in the database.",
        "Type every secret, token, password and key in `Config` and `AppConfig` as SecretStr.",
    ),
    "secret_in_repr": (
        "Printing the plugin or its configuration prints a secret.",
        "Keep secrets in SecretStr until the moment they are sent; do not put them into attributes that are shown.",
    ),
    "secret_in_error": (
        "An error's message or a log line has a secret in it: agents and admins read these.",
        "Name fields, never values; give `call` a `label` where the address has a secret in it.",
    ),
    "config_undocumented": (
        "Whoever connects an account must guess what a setting means.",
        "Give every field of `Config` and `AppConfig` a description (`Field(description=…)`), and the class a "
        "docstring. A docstring below the field counts with `use_attribute_docstrings`.",
    ),
    # errors and manners towards the provider
    "error_not_named": (
        "An outcome of the provider surfaces as a bug of the plugin: nobody knows whether to retry, to connect again "
        "or to tell the agent.",
        "Call the provider with `gateway_schemas.http.call`, read answers with `json_object`, and raise the errors of "
        "`gateway_schemas.errors` only.",
    ),
    "refused_credentials_not_told": (
        "The credentials have been refused, and the connection goes on as if the provider had hiccups.",
        "Raise Reauthorise for 401 once a renewal of the token did not help.",
    ),
    "rate_limit_ignored": (
        "After 429 the plugin goes on, gives up, or waits for a time of its own: the provider locks the account out.",
        "Raise Retry with `after` from Retry-After, which comes in seconds or as an HTTP date (`limits.retry_after`).",
    ),
    "read_failure_swallowed": (
        "A failed read looks like an empty one: the gap is never filled.",
        "Let poll and fetch raise Retry or Malformed when the provider's answer is an error or no document.",
    ),
    "rate_headers_crash": (
        "An odd rate-limit header ends as a bug of the plugin after every answer.",
        "Read headers with `epoch_headers` or `delta_headers`; unreadable ones tell nothing.",
    ),
    "host_not_declared": (
        "The host refuses the plugin's requests: their address is not among those it declares.",
        "Name every base URL in `hosts_of`, also that of tokens and uploads.",
    ),
    "pure_method_uses_network": (
        "`verify`, `normalise` or `render` ask the network: the door stands still, and decisions cannot be repeated.",
        "Name what is missing with `Wanted`, and ask for it in `fetch`.",
    ),
    # polling
    "poll_loses_items": (
        "Items on a later page are never seen.",
        "Follow the provider's paging to its end; set `more` while there is a next page, and page by its own tokens.",
    ),
    "poll_loses_arrivals": (
        "What arrives while the plugin pages pushes items over the page's edge, where nobody sees them.",
        "Page by token or id, not by offset; move the cursor to what was newest when paging began.",
    ),
    "poll_never_ends": (
        "Polling says `more` for ever: one connection keeps a worker busy and burns its budget.",
        "Say `more` only while the provider has a next page; end also on an empty page.",
    ),
    "poll_repeats": (
        "Every poll brings everything again: the budget is spent on what is known.",
        "Ask from the cursor on, less the declared overlap.",
    ),
    "cursor_moved_early": (
        "A crash between two pages loses what the second one had.",
        "Give with each page the cursor to go on from once this page is stored; the position that a later poll starts "
        "from moves only with the last page.",
    ),
    "cursor_in_memory": (
        "After a restart the plugin begins anew or misses what it had not read: its place was in an attribute.",
        "Keep all that paging needs in the cursor, a JSON document.",
    ),
    "cursor_past_its_second": (
        "Items of the same second as the newest one known are skipped.",
        "Ask with an overlap (or `>=`), and let identity drop what repeats.",
    ),
    "stream_unknown_accepted": (
        "A stream that does not exist is polled as another one: its cursor overwrites the other's.",
        "Raise Rejected for a stream that the capabilities do not name.",
    ),
    # health and set-up
    "health_wrong": (
        "A broken connection looks healthy, or a healthy one broken: a channel dies silently.",
        "Let `check` ask the provider something that needs the credentials, and give findings with the mend instead "
        "of raising.",
    ),
    "dry_run_changes": (
        "Looking at what an install would do changes the account.",
        "Make no request with an effect while `dry_run` holds.",
    ),
    "install_repeats": (
        "Installing twice makes two webhooks: everything arrives twice.",
        'Look for what is there and keep it (`Step(action="keep")`).',
    ),
}
