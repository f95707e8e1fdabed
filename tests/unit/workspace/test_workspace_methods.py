"""The Web API refuses and accepts as Slack does: for each rule a call that passes and one that does not."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from bot.workspace import client as browser
from bot.workspace import marking, posting, rooming
from bot.workspace.methods import registry
from bot.workspace.state import Workspace

ANA, BEN, BOT = "U01ANA0000", "U01BEN0000", "U01MUSTER0"
INCIDENTS, GENERAL = "C01INCIDNT", "C01GENERAL"


def card(api: Any, **fields: Any) -> str:
    """Post a message and give its ts."""
    return api("chat.postMessage", channel=INCIDENTS, **{"text": "card", **fields})["ts"]


def says(ws: Workspace, text: str, channel: str = INCIDENTS, user: str = ANA, **fields: Any) -> dict[str, Any]:
    with ws.transaction():
        return posting.post(ws, rooming.fresh(ws, ws.rooms.channel(channel)), {"user": user, "text": text, **fields})


def private_room(ws: Workspace, *members: str) -> str:
    with ws.transaction():
        channel = rooming.create(ws, name="secret", creator=ANA, private=True)
        for member in members:
            rooming.join(ws, channel, member)
    return channel.id


def events(ws: Workspace) -> list[dict[str, Any]]:
    return [ws.outbox.parcel(seq).body["event"] for seq in ws.outbox.due(ws.clock() + 1, limit=1000)]


@pytest.mark.parametrize(
    ("token", "error"),
    [(None, "not_authed"), ("xoxb-wrong", "invalid_auth"), ("ünïcode", "invalid_auth")],
)
def test_a_token_is_asked_for(api: Any, token: str | None, error: str) -> None:
    """No token and a wrong token have their own errors."""
    assert api.refusal("auth.test", token=token) == error
    assert api("auth.test")["user_id"] == BOT


def test_each_token_opens_its_own_doors(api: Any, ws: Workspace) -> None:
    """The bot token cannot open sockets and the app token cannot post."""
    assert api.refusal("apps.connections.open") == "not_allowed_token_type"
    assert api.refusal("chat.postMessage", token=ws.identity.app_token, channel=INCIDENTS, text="x") == "not_allowed_token_type"
    assert api("apps.connections.open", token=ws.identity.app_token)["url"].startswith("ws://127.0.0.1:8089/link/?ticket=")


def test_a_method_slack_does_not_have_is_unknown(api: Any) -> None:
    """unknown_method."""
    assert api.refusal("chat.shout", channel=INCIDENTS) == "unknown_method"


SCOPED = {
    "chat.postMessage": ("chat:write", {"channel": INCIDENTS, "text": "x"}),
    "users.info": ("users:read", {"user": ANA}),
    "users.lookupByEmail": ("users:read.email", {"email": "ana@example.com"}),
    "reactions.get": ("reactions:read", {"channel": INCIDENTS, "timestamp": "1.000000"}),
    "pins.list": ("pins:read", {"channel": INCIDENTS}),
    "bookmarks.list": ("bookmarks:read", {"channel_id": INCIDENTS}),
    "conversations.create": ("channels:manage", {"name": "new"}),
    "conversations.history": ("channels:history", {"channel": INCIDENTS}),
    "conversations.info": ("channels:read", {"channel": INCIDENTS}),
    "conversations.join": ("channels:join", {"channel": INCIDENTS}),
    "conversations.open": ("im:write", {"users": ANA}),
    "files.info": ("files:read", {"file": "F1"}),
    "usergroups.list": ("usergroups:read", {}),
    "team.info": ("team:read", {}),
}


@pytest.mark.parametrize("method", SCOPED)
def test_a_scope_that_the_manifest_lacks_is_missing(method: str, make_ws: Callable[..., Workspace], manifest: Any) -> None:
    """missing_scope says what is needed and what is provided."""
    scope, args = SCOPED[method]
    manifest["oauth_config"]["scopes"]["bot"] = [s for s in manifest["oauth_config"]["scopes"]["bot"] if s != scope]
    manifest["settings"]["event_subscriptions"]["bot_events"] = []
    ws = make_ws(manifest)
    with pytest.raises(Exception, match="missing_scope") as refused:
        registry_call(ws, method, args)
    assert scope in refused.value.fields["needed"]
    assert scope not in refused.value.fields["provided"].split(",")


def registry_call(ws: Workspace, method: str, args: dict[str, Any]) -> dict[str, Any]:
    return registry.run(ws, name=method, args=args, token=ws.identity.bot_token, base_url="http://127.0.0.1")


POSTS = [
    ({"text": "x"}, {"text": "  "}, "no_text"),
    ({"text": "x"}, {"blocks": []}, "no_text"),
    ({"markdown_text": "m" * 12_000}, {"markdown_text": "m" * 12_001}, "msg_too_long"),
    ({"markdown_text": "m"}, {"markdown_text": "m", "text": "t"}, "markdown_text_conflict"),
    ({"attachments": [{"text": "a"}] * 100}, {"attachments": [{"text": "a"}] * 101}, "too_many_attachments"),
    ({"attachments": [{"footer": "f" * 300}]}, {"attachments": [{"footer": "f" * 301}]}, "invalid_attachments"),
    ({"text": "x", "blocks": '[{"type":"divider"}]'}, {"text": "x", "blocks": "[{"}, "invalid_blocks_format"),
    ({"blocks": [{"type": "divider"}] * 50}, {"blocks": [{"type": "divider"}] * 51}, "msg_blocks_too_many"),
    ({"text": "x", "metadata": {"event_type": "t", "event_payload": {}}}, {"text": "x", "metadata": "["}, "invalid_metadata_format"),
    ({"text": "x", "metadata": {"event_type": "t", "event_payload": {}}}, {"text": "x", "metadata": {"event_type": "t"}}, "invalid_metadata_schema"),
    (
        {"text": "x", "metadata": {"event_type": "t", "event_payload": {"k": "v" * 15_000}}},
        {"text": "x", "metadata": {"event_type": "t", "event_payload": {"k": "v" * 17_000}}},
        "metadata_too_large",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("good", "bad", "error"), POSTS)
def test_what_a_message_may_bring(api: Any, good: dict[str, Any], bad: dict[str, Any], error: str) -> None:
    """One message inside each rule is posted, one outside is refused by name."""
    assert api("chat.postMessage", channel=INCIDENTS, **good)["ok"] is True
    assert api.refusal("chat.postMessage", channel=INCIDENTS, **bad) == error


def test_text_is_cut_at_40000(api: Any) -> None:
    """chat.postMessage keeps 40,000 characters and says nothing about the rest."""
    assert len(api("chat.postMessage", channel=INCIDENTS, text="x" * 40_001)["message"]["text"]) == 40_000


def test_where_a_message_may_go(api: Any, ws: Workspace, make_ws: Callable[..., Workspace], manifest: Any) -> None:
    """Public channels by chat:write.public, private ones only from inside, archived ones not, people by direct message."""
    room = private_room(ws)
    assert api.refusal("chat.postMessage", channel=room, text="x") == "channel_not_found"
    assert api.refusal("chat.postMessage", channel="C0NOWHERE", text="x") == "channel_not_found"
    assert api.refusal("chat.postMessage", text="x") == "channel_not_found"
    ws.rooms.leave(GENERAL, BOT)
    assert api("chat.postMessage", channel=GENERAL, text="x")["ok"]
    assert api("chat.postMessage", channel="#general", text="x")["channel"] == GENERAL
    assert api("chat.postMessage", channel=ANA, text="x")["channel"].startswith("D")
    ws.rooms.set_archived(INCIDENTS, archived=True)
    assert api.refusal("chat.postMessage", channel=INCIDENTS, text="x") == "is_archived"
    manifest["oauth_config"]["scopes"]["bot"].remove("chat:write.public")
    strict = make_ws(manifest)
    with pytest.raises(Exception, match="not_in_channel"):
        registry_call(strict, "chat.postMessage", {"channel": GENERAL, "text": "x"})


def test_another_name_needs_a_scope(api: Any) -> None:
    """The username field without chat:write.customize is refused."""
    assert api.refusal("chat.postMessage", channel=INCIDENTS, text="x", username="Scribe") == "missing_scope"


def test_replies_go_to_threads_that_exist(api: Any, ws: Workspace) -> None:
    """A reply needs a parent that is no reply and no system line."""
    parent = card(api)
    reply = card(api, thread_ts=parent)
    assert api("conversations.replies", channel=INCIDENTS, ts=parent)["messages"][1]["ts"] == reply
    assert api.refusal("chat.postMessage", channel=INCIDENTS, text="x", thread_ts=reply) == "cannot_reply_to_message"
    assert api.refusal("chat.postMessage", channel=INCIDENTS, text="x", thread_ts="1.000001") == "thread_not_found"
    line = says(ws, "joined", subtype="channel_join")
    assert api.refusal("chat.postMessage", channel=INCIDENTS, text="x", thread_ts=line["ts"]) == "cannot_reply_to_message"


def test_a_thread_parent_counts_its_replies(api: Any) -> None:
    """History shows the parent with its figures and leaves replies out, unless they were broadcast."""
    parent = card(api)
    card(api, thread_ts=parent)
    loud = card(api, thread_ts=parent, reply_broadcast=True)
    messages = api("conversations.history", channel=INCIDENTS)["messages"]
    assert [m["ts"] for m in messages] == [loud, parent]
    assert (messages[1]["reply_count"], messages[1]["latest_reply"]) == (2, loud)


def test_an_update_keeps_and_drops_what_slack_keeps_and_drops(api: Any) -> None:
    """Text alone removes the blocks, neither keeps both, an empty list removes blocks; metadata stays until {}."""
    blocks = [{"type": "divider"}]
    told = {"event_type": "t", "event_payload": {"a": 1}}
    ts = card(api, blocks=blocks, metadata=told)
    kept = api("chat.update", channel=INCIDENTS, ts=ts)["message"]
    assert kept["blocks"][0]["type"] == "divider"
    text = api("chat.update", channel=INCIDENTS, ts=ts, text="new")["message"]
    assert ("blocks" in text, text["edited"]["user"], text["metadata"]) == (False, BOT, told)
    both = api("chat.update", channel=INCIDENTS, ts=ts, text="n", blocks=blocks)["message"]
    assert both["blocks"][0]["type"] == "divider"
    bare = api("chat.update", channel=INCIDENTS, ts=ts, blocks=[], metadata={})["message"]
    assert ("blocks" in bare, "metadata" in bare, bare["text"]) == (False, False, "n")


def test_what_may_be_updated(api: Any, ws: Workspace) -> None:
    """Only the app's own messages, up to 4,000 characters."""
    ts = card(api)
    assert api("chat.update", channel=INCIDENTS, ts=ts, text="x" * 4000)["ok"]
    assert api.refusal("chat.update", channel=INCIDENTS, ts=ts, text="x" * 4001) == "msg_too_long"
    assert api.refusal("chat.update", channel=INCIDENTS, ts="1.000001", text="x") == "message_not_found"
    other = says(ws, "mine")["ts"]
    assert api.refusal("chat.update", channel=INCIDENTS, ts=other, text="x") == "cant_update_message"
    assert api.refusal("chat.delete", channel=INCIDENTS, ts=other) == "cant_delete_message"
    assert api("chat.delete", channel=INCIDENTS, ts=ts)["ok"]
    assert api.refusal("chat.delete", channel=INCIDENTS, ts=ts) == "message_not_found"


def test_a_whisper_is_for_members_and_no_record(api: Any, ws: Workspace) -> None:
    """Only a member sees it, nobody else, not the history; chat.update cannot reach it."""
    ts = api("chat.postEphemeral", channel=INCIDENTS, user=ANA, text="psst")["message_ts"]
    assert [m["text"] for m in ws.talk.ephemerals(INCIDENTS, ANA)] == ["psst"]
    assert ws.talk.ephemerals(INCIDENTS, BEN) == []
    assert api("conversations.history", channel=INCIDENTS)["messages"] == []
    assert api.refusal("chat.update", channel=INCIDENTS, ts=ts, text="x") == "message_not_found"
    assert api.refusal("chat.postEphemeral", channel="C01LEADS00", user=ANA, text="x") == "user_not_in_channel"
    assert api.refusal("chat.postEphemeral", channel=INCIDENTS, user=ANA, text="x" * 4001) == "msg_too_long"


NAMES = [
    ("a" * 80, "a" * 81, "invalid_name_maxlength"),
    ("a-b_1", "A B", "invalid_name_specials"),
    ("a-", "---", "invalid_name_punctuation"),
    ("b", "", "invalid_name_required"),
    ("überlauf", "über.lauf", "invalid_name_specials"),
    ("fresh", "general", "name_taken"),
    ("fresh2", "ana", "name_taken"),
    ("fresh3", "ml-platform-team", "name_taken"),
]


@pytest.mark.parametrize(("good", "bad", "error"), NAMES)
def test_channel_names(api: Any, good: str, bad: str, error: str) -> None:
    """One name inside each rule makes a channel, one outside is refused by name."""
    channel = api("conversations.create", name=good)["channel"]
    assert (channel["name"], channel["is_member"], channel["creator"]) == (good, True, BOT)
    assert api.refusal("conversations.create", name=bad) == error


def test_an_archived_channel_keeps_its_name_and_loses_the_app(api: Any) -> None:
    """After archiving the name is taken, the app is out, and unarchiving fails as it does in practice."""
    room = api("conversations.create", name="inc-1")["channel"]["id"]
    assert api("conversations.archive", channel=room)["ok"]
    assert api.refusal("conversations.create", name="inc-1") == "name_taken"
    assert api.refusal("conversations.unarchive", channel=room) == "not_in_channel"
    assert api.refusal("conversations.archive", channel=GENERAL) == "cant_archive_general"
    assert api.refusal("conversations.setTopic", channel=room, topic="x") == "is_archived"


@pytest.mark.parametrize("what", ["topic", "purpose"])
def test_topic_and_purpose_have_250_characters(api: Any, what: str) -> None:
    """250 are taken, 251 are too_long."""
    method = f"conversations.set{what.capitalize()}"
    assert api(method, channel=INCIDENTS, **{what: "t" * 250})["channel"][what]["value"] == "t" * 250
    assert api.refusal(method, channel=INCIDENTS, **{what: "t" * 251}) == "too_long"


def test_invitations_are_all_or_nothing_unless_forced(api: Any, ws: Workspace) -> None:
    """One wrong name stops all; with force the right ones come in and the wrong one is reported."""
    room = api("conversations.create", name="inc-2")["channel"]["id"]
    assert api.refusal("conversations.invite", channel=room, users=f"{ANA},U0NOBODY") == "user_not_found"
    assert ws.rooms.members(room) == [BOT]
    told = api("conversations.invite", channel=room, users=f"{ANA},U0NOBODY", force=True)
    assert told["errors"] == [{"user": "U0NOBODY", "ok": False, "error": "user_not_found"}]
    assert ws.rooms.members(room) == [BOT, ANA]
    assert api.refusal("conversations.invite", channel=room, users=ANA) == "already_in_channel"
    assert api.refusal("conversations.invite", channel=room, users=BOT) == "cant_invite_self"
    assert api.refusal("conversations.invite", channel=room, users="") == "no_user"
    hundred = ",".join(f"U{i:04d}" for i in range(100))
    assert api.refusal("conversations.invite", channel=room, users=hundred) == "user_not_found"
    assert api.refusal("conversations.invite", channel=room, users=hundred + ",U9") == "too_many_users"


def test_joining_leaving_and_kicking(api: Any, ws: Workspace) -> None:
    """Public channels can be joined, private ones are not even found; general is not left."""
    assert api("conversations.join", channel=INCIDENTS)["warning"] == "already_in_channel"
    assert api("conversations.leave", channel=INCIDENTS) == {"ok": True}
    assert api("conversations.leave", channel=INCIDENTS)["not_in_channel"] is True
    assert api.refusal("conversations.history", channel=INCIDENTS) == "not_in_channel"
    assert api("conversations.join", channel=INCIDENTS)["channel"]["is_member"] is True
    assert api.refusal("conversations.join", channel=private_room(ws)) == "channel_not_found"
    assert api.refusal("conversations.leave", channel=GENERAL) == "cant_leave_general"
    assert api("conversations.kick", channel=INCIDENTS, user=ANA)["ok"]
    assert api.refusal("conversations.kick", channel=INCIDENTS, user=ANA) == "not_in_channel"
    assert api.refusal("conversations.kick", channel=INCIDENTS, user=BOT) == "cant_kick_self"
    assert api.refusal("conversations.kick", channel=GENERAL, user=ANA) == "cant_kick_from_general"


def test_renaming_is_for_the_creator(api: Any) -> None:
    """The app may rename what it made, and nothing else."""
    room = api("conversations.create", name="inc-3")["channel"]["id"]
    assert api("conversations.rename", channel=room, name="inc-3b")["channel"]["name"] == "inc-3b"
    assert api.refusal("conversations.rename", channel=INCIDENTS, name="other") == "not_authorized"


def test_direct_conversations(api: Any, ws: Workspace) -> None:
    """Opened once, found again; unknown and disabled people are refused; at most eight."""
    first = api("conversations.open", users=ANA)
    assert api("conversations.open", users=ANA)["already_open"] is True
    assert api("conversations.open", users=ANA)["channel"]["id"] == first["channel"]["id"]
    assert api.refusal("conversations.open", users="U0NOBODY") == "user_not_found"
    assert api.refusal("conversations.open", users="") == "users_list_not_supplied"
    assert api.refusal("conversations.open", users=[f"U{i}" for i in range(9)]) == "too_many_users"
    ws.rooms.put_user({**ws.rooms.user(BEN), "deleted": True})
    assert api.refusal("conversations.open", users=BEN) == "user_disabled"


def test_lists_come_in_pages(api: Any) -> None:
    """A cursor leads on to the last page; a forged one is refused."""
    seen: list[str] = []
    cursor = ""
    while True:
        page = api("conversations.list", limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [channel["name"] for channel in page["channels"]]
        assert len(page["channels"]) <= 2
        cursor = page["response_metadata"]["next_cursor"]
        if not cursor:
            break
    assert seen == ["general", "incidents", "leads", "ml-platform", "support"]
    for forged in ("nonsense", base64.b64encode(b"offset:-1").decode(), base64.b64encode(b"next_ts:1").decode()):
        assert api.refusal("conversations.list", cursor=forged) == "invalid_cursor"
    assert api.refusal("conversations.list", limit=1001) == "invalid_limit"
    assert api.refusal("conversations.list", limit="many") == "invalid_limit"
    assert api.refusal("conversations.list", types="public_channel,secret") == "invalid_types"


def test_history_is_paged_and_windowed(api: Any) -> None:
    """Newest first; latest and oldest are exclusive unless inclusive."""
    stamps = [card(api, text=str(n)) for n in range(5)]
    page = api("conversations.history", channel=INCIDENTS, limit=2)
    assert ([m["ts"] for m in page["messages"]], page["has_more"]) == (stamps[:2:-1], True)
    rest = api("conversations.history", channel=INCIDENTS, limit=9, cursor=page["response_metadata"]["next_cursor"])
    assert [m["ts"] for m in rest["messages"]] == stamps[2::-1]
    window = {"channel": INCIDENTS, "oldest": stamps[1], "latest": stamps[3]}
    assert [m["ts"] for m in api("conversations.history", **window)["messages"]] == [stamps[2]]
    assert [m["ts"] for m in api("conversations.history", **window, inclusive=True)["messages"]] == stamps[3:0:-1]
    assert api.refusal("conversations.history", channel=INCIDENTS, oldest="yesterday") == "invalid_ts_oldest"
    assert api.refusal("conversations.replies", channel=INCIDENTS, ts="1.000001") == "thread_not_found"


def test_reactions(api: Any, ws: Workspace) -> None:
    """Added once, removed once, named rightly; the app hears of all but its own bookkeeping."""
    ts = card(api)
    about = {"channel": INCIDENTS, "timestamp": ts}
    assert api("reactions.add", name="eyes", **about)["ok"]
    assert api.refusal("reactions.add", name="eyes", **about) == "already_reacted"
    assert api("reactions.get", **about)["message"]["reactions"] == [{"name": "eyes", "users": [BOT], "count": 1}]
    assert api("reactions.remove", name="eyes", **about)["ok"]
    assert api.refusal("reactions.remove", name="eyes", **about) == "no_reaction"
    assert api.refusal("reactions.add", name="not an emoji", **about) == "invalid_name"
    assert api.refusal("reactions.add", name="eyes", channel=INCIDENTS, timestamp="soon") == "bad_timestamp"
    assert api.refusal("reactions.add", name="eyes", channel=INCIDENTS) == "no_item_specified"
    kinds = [(e["type"], e["reaction"], e["user"]) for e in events(ws) if e["type"].startswith("reaction")]
    assert kinds == [("reaction_added", "eyes", BOT), ("reaction_removed", "eyes", BOT)]


def test_a_person_has_23_reactions_on_a_message(api: Any) -> None:
    """The 24th is too_many_reactions."""
    ts = card(api)
    for n in range(23):
        api("reactions.add", name=f"e{n}", channel=INCIDENTS, timestamp=ts)
    assert api.refusal("reactions.add", name="one-more", channel=INCIDENTS, timestamp=ts) == "too_many_reactions"


def test_pins(api: Any, ws: Workspace) -> None:
    """Pinned once, said in the channel, listed, unpinned once; a hundred at most."""
    ts = card(api)
    about = {"channel": INCIDENTS, "timestamp": ts}
    assert api("pins.add", **about)["ok"]
    assert api.refusal("pins.add", **about) == "already_pinned"
    line = api("conversations.history", channel=INCIDENTS)["messages"][0]
    assert (line["subtype"], line["item_ts"]) == ("pinned_item", ts)
    assert api.refusal("pins.add", channel=INCIDENTS, timestamp=line["ts"]) == "not_pinnable"
    assert [item["message"]["ts"] for item in api("pins.list", channel=INCIDENTS)["items"]] == [ts]
    assert api("pins.remove", **about)["ok"]
    assert api.refusal("pins.remove", **about) == "no_pin"
    for n in range(100):
        ws.talk.pin(INCIDENTS, f"{n}.000001", ANA, 1)
    assert api.refusal("pins.add", **about) == "too_many_pins"


def test_bookmarks(api: Any) -> None:
    """Links only, http(s) only, a hundred at most; edited and removed by id."""
    about = {"channel_id": INCIDENTS, "title": "Runbook", "type": "link"}
    made = api("bookmarks.add", link="https://example.com", **about)["bookmark"]
    assert api.refusal("bookmarks.add", link="javascript:alert(1)", **about) == "invalid_link"
    assert api.refusal("bookmarks.add", link="https://example.com", **{**about, "type": "file"}) == "invalid_bookmark_type"
    edited = api("bookmarks.edit", channel_id=INCIDENTS, bookmark_id=made["id"], title="New")["bookmark"]
    assert (edited["title"], edited["link"]) == ("New", "https://example.com")
    assert api.refusal("bookmarks.edit", channel_id=INCIDENTS, bookmark_id="Bk0") == "not_found"
    for _ in range(99):
        api("bookmarks.add", link="https://example.com", **about)
    assert api.refusal("bookmarks.add", link="https://example.com", **about) == "too_many_bookmarks"
    assert api("bookmarks.remove", channel_id=INCIDENTS, bookmark_id=made["id"])["ok"]
    assert len(api("bookmarks.list", channel_id=INCIDENTS)["bookmarks"]) == 99


def test_people_are_found(api: Any, ws: Workspace, make_ws: Callable[..., Workspace], manifest: Any) -> None:
    """By id and by address; the address itself only with its scope."""
    assert api("users.info", user=ANA)["user"]["profile"]["email"] == "ana@example.com"
    assert api.refusal("users.info", user="U0NOBODY") == "user_not_found"
    assert api("users.lookupByEmail", email="ANA@example.com")["user"]["id"] == ANA
    assert api.refusal("users.lookupByEmail", email="nobody@example.com") == "users_not_found"
    assert api("usergroups.users.list", usergroup="S01MLPLAT0")["users"] == [ANA, BEN]
    assert api.refusal("usergroups.users.list", usergroup="S0") == "no_such_subteam"
    manifest["oauth_config"]["scopes"]["bot"].remove("users:read.email")
    blind = make_ws(manifest)
    assert "email" not in registry_call(blind, "users.info", {"user": ANA})["user"]["profile"]


FILES = [
    ({"length": 4}, {"length": 0}, "file_upload_size_restricted"),
    ({"length": 1_000_000, "snippet_type": "csv"}, {"length": 1_000_001, "snippet_type": "csv"}, "snippet_too_large"),
    ({"length": 4, "alt_txt": "a" * 1000}, {"length": 4, "alt_txt": "a" * 1001}, "alt_txt_too_large"),
]


@pytest.mark.parametrize(("good", "bad", "error"), FILES)
def test_what_may_be_uploaded(api: Any, good: dict[str, Any], bad: dict[str, Any], error: str) -> None:
    """One upload inside each rule gets a ticket, one outside is refused by name."""
    ticket = api("files.getUploadURLExternal", filename="a.csv", **good)
    assert ticket["upload_url"].startswith("http://127.0.0.1:8089/upload/v1/")
    assert api.refusal("files.getUploadURLExternal", filename="a.csv", **bad) == error
    assert api.refusal("files.completeUploadExternal", files=[{"id": ticket["file_id"]}]) == "file_not_found"


def test_blocks_validate_judges_without_a_token(api: Any) -> None:
    """blocks.validate answers with pointers, for blocks, a message and a view."""
    good = [{"type": "divider"}]
    assert api("blocks.validate", token=None, blocks=good) == {"ok": True}
    assert api("blocks.validate", token=None, message={"blocks": good}) == {"ok": True}
    assert api("blocks.validate", token=None, view={"type": "home", "blocks": good}) == {"ok": True}
    assert api.refusal("blocks.validate", token=None, blocks=[{"type": "header"}]) == "invalid_blocks"
    assert api.refusal("blocks.validate", token=None) == "invalid_arguments"


def test_a_refused_call_changes_nothing(api: Any, ws: Workspace) -> None:
    """A call that fails at its end has left no trace, not even an event."""
    room = api("conversations.create", name="inc-9")["channel"]["id"]
    before = (api("conversations.history", channel=room)["messages"], ws.outbox.waiting())
    ws.rooms.set_archived(room, archived=True)
    for method, args in (("conversations.setTopic", {"topic": "x"}), ("chat.postMessage", {"text": "x"})):
        api.refusal(method, channel=room, **args)
    assert (api("conversations.history", channel=room)["messages"], ws.outbox.waiting()) == before


def test_the_app_hears_only_what_it_asked_for_and_where_it_is(api: Any, ws: Workspace) -> None:
    """Messages of channels it is in, subscribed events only, mentions apart from messages."""
    says(ws, f"<@{BOT}> hello")
    kinds = [event["type"] for event in events(ws)]
    assert kinds == ["message", "app_mention"]
    ws.rooms.leave(GENERAL, BOT)
    says(ws, f"<@{BOT}> hello?", channel=GENERAL)
    assert [event["type"] for event in events(ws)] == kinds
    assert ws.talk.ephemerals(GENERAL, ANA)[0]["text"].startswith("You mentioned")
    with ws.transaction():
        message = says(ws, "pin me")
        marking.pin(ws, ws.rooms.channel(INCIDENTS), message, user=ANA)
        marking.unpin(ws, ws.rooms.channel(INCIDENTS), message, user=ANA)
    assert "pin_removed" not in [event["type"] for event in events(ws)]


def test_a_private_room_is_seen_by_its_members_only(ws: Workspace) -> None:
    """Neither boot nor the app's list shows a private channel to those outside."""
    room = private_room(ws)
    front = browser.Client(ws=ws, interactions=None, admin=None)
    assert room in [c["id"] for c in front.boot(ANA)["channels"]]
    assert room not in [c["id"] for c in front.boot(BEN)["channels"]]
    assert room not in [c["id"] for c in registry_call(ws, "conversations.list", {"types": "public_channel,private_channel"})["channels"]]
