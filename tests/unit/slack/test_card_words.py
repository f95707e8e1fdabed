"""What people read and may press, screen by screen: the order and the words of the design."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest

from bot.slack import intents
from bot.slack.cards import draw, draw_home, draw_view, forms
from bot.slack.cards import plan as plans
from bot.slack.intents import PressKind
from runbooks.proposing import SuggestionState
from runbooks.run import RunState
from runbooks.runbook import Parameter
from runbooks.screens import BreakerNotice, CleanUpMessage, HomeScreen, ProposalMessage, Refusal, RunMessage
from tests import gallery

NOW = gallery.NOW


def readable(words: str) -> str:
    """As the reader sees it: times in UTC, links by their label."""
    return re.sub(r"<[^|>]*\|([^>]*)>", r"\1", words).replace(" UTC", "").replace("&gt;", ">").replace("&lt;", "<")


def lines(blocks: Any) -> list[str]:
    """Every line of a message in reading order, buttons in brackets."""
    found: list[str] = []
    for block in blocks:
        found.extend(readable(block[key]["text"]) for key in ("text", "label") if key in block)
        found.extend(readable(item["text"]) for item in block.get("fields", ()))
        if block["type"] == "actions":
            found.append(" ".join(f"[{item['text']['text']}]" for item in block["elements"]))
        elif block["type"] == "context":
            found.extend(readable(item["text"]) for item in block["elements"])
        if "accessory" in block:
            found.append(f"[{block['accessory']['text']['text']}]")
    return found


def kinds(blocks: Any) -> list[PressKind]:
    """What the buttons mean, in order."""
    items = [item for block in blocks for item in [*block.get("elements", ()), block.get("accessory", {})] if item.get("type") == "button"]
    return [intents.decode(item["action_id"], item["value"]).kind for item in items]


def test_the_card_reads_as_designed() -> None:
    """Header, what broke, owner and affected, safe actions before the incident's own, then the quieter lines."""
    screen = gallery.card(safe_actions=(gallery.SAFE[0],))
    drawn = draw(screen)
    assert drawn.text == ("SEV2 INC-42 triggered: Model answers are slow. Owner ml-platform. Safe actions: Scale the inference pool out.")
    assert lines(drawn.blocks) == [
        "SEV2 · INC-42 · Model answers are slow",
        "reranker-v3 answers slowly for answers. For 6 min, since 10:02.",
        "*Owner* ml-platform, on call <@U0ANA>",
        "*Affected* 12 customers, most Northwind",
        "[Scale the inference pool out…] [Acknowledge] [Take command] [More…]",
        "In More, with approval: *Roll back to the previous release unit*",
        "*p99 1.9 s* (limit 0.5 s).",
        "index age *no data* · CPU 96 % · errors 0.2 % · 10:08",
        "Changed: 10:00 release reranker-v3.2 (2 min before)",
        "Dashboard · Provider status",
        "inference-latency v3 · reviewed 12 d ago · drilled 40 d ago, passed",
        "[Why this runbook?]",
    ]


def test_what_was_done_takes_the_place_of_its_button() -> None:
    """Acknowledged and commanded: the buttons are gone, and the line says by whom and when."""
    drawn = draw(gallery.card(gallery.ACKNOWLEDGED, acknowledged_by=gallery.ANA, commander=gallery.ANA))
    assert "Acknowledged by <@U0ANA>, 10:04 · Commander <@U0ANA>" in lines(drawn.blocks)
    assert not {PressKind.ACKNOWLEDGE, PressKind.TAKE_COMMAND} & set(kinds(drawn.blocks))


def test_a_mitigated_incident_offers_to_be_resolved() -> None:
    """The next step stands on the card."""
    assert PressKind.RESOLVE in kinds(draw(gallery.card(gallery.MITIGATED)).blocks)


def test_what_is_over_its_limit_comes_first_with_its_stage() -> None:
    """The first look names the stage; what is within its limits, and tiny shares, stand below and quieter."""
    shown = lines(draw(gallery.card(diagnosis=gallery.STAGES)).blocks)
    at = shown.index("*p99 1.9 s* (limit 0.5 s) · *CPU 96 %* (limit 85 %). Stage: *model*.")
    assert shown[at + 1] == "errors 0 % · provider p99 0.9 s · 10:08"


def test_a_healthy_measurement_says_that_all_is_within_limits() -> None:
    """No list has to be read to know it."""
    assert "Everything measured is within its limits." in lines(draw(gallery.card(diagnosis=gallery.STAGES[2:])).blocks)


def test_once_mitigated_the_next_step_leads_and_reasons_are_silent() -> None:
    """Resolve comes first; an action that is withheld because all is well needs no line of its own."""
    drawn = draw(gallery.card(gallery.MITIGATED, safe_actions=(gallery.WITHHELD, gallery.SAFE[1])))
    assert kinds(drawn.blocks)[0] is PressKind.RESOLVE
    assert PressKind.EXPLAIN not in kinds(drawn.blocks)
    assert not [line for line in lines(drawn.blocks) if "not now" in line]
    assert lines(drawn.blocks)[0].startswith("Mitigated · SEV2")


def test_a_resolved_card_shows_the_outcome_and_no_actions() -> None:
    """No button that could act is left; how it ended is."""
    drawn = draw(gallery.card(gallery.RESOLVED))
    assert kinds(drawn.blocks) == []
    assert lines(drawn.blocks)[0] == "Resolved · SEV2 · INC-42 · Model answers are slow"
    assert "*Resolved* 10:17 after 15 min, since 10:02. Two more replicas" in lines(drawn.blocks)[1]
    assert drawn.text.startswith("SEV2 INC-42 resolved: Model answers are slow. Two more replicas")


def test_a_withheld_action_is_shown_with_its_reason_and_explains_itself() -> None:
    """The button stays in its place, the reason stands under it, and the text does not offer it."""
    drawn = draw(gallery.card(safe_actions=(gallery.WITHHELD,)))
    assert kinds(drawn.blocks)[0] is PressKind.EXPLAIN
    assert "*Scale the inference pool out* not now: CPU is 41 %; it must be over 80 %" in lines(drawn.blocks)
    assert "No safe action can be pressed now." in drawn.text


def test_an_action_that_runs_at_one_click_shows_its_plan_before() -> None:
    """What it will do stands above the button, which has no three dots and runs."""
    shown = lines(draw(gallery.card(safe_actions=(gallery.SAFE[1],))).blocks)
    plan = shown.index("*Cap client retries at one* runs at one click: retries 3 → 1 for 2 h")
    assert shown[plan + 1].startswith("[Cap client retries at one] [Acknowledge]")
    assert kinds(draw(gallery.card(safe_actions=(gallery.SAFE[1],))).blocks)[0] is PressKind.RUN_NOW


def test_buttons_carry_incident_version_and_expiry() -> None:
    """A click on a dead card can explain itself (rule S10)."""
    for block in draw(gallery.card()).blocks:
        for item in block.get("elements", ()):
            if item.get("type") == "button":
                press = intents.decode(item["action_id"], item["value"])
                assert (press.incident_id, press.version, press.expires_at) == (42, 3, NOW + timedelta(days=7))


def test_a_stale_runbook_says_so_first() -> None:
    """The warning stands before the version."""
    assert lines(draw(gallery.card(freshness=gallery.STALE)).blocks)[-2].startswith(
        "*Not drilled for 140 days; step Previous release failed then.* inference-latency v3 · reviewed 12 d ago, overdue"
    )


def test_a_drill_can_be_aborted_from_its_card() -> None:
    """Anyone may, after one question."""
    blocks = draw(gallery.card(gallery.DRILL)).blocks
    assert PressKind.DRILL_ABORT in kinds(blocks)
    assert PressKind.DRILL_ABORT not in kinds(draw(gallery.card()).blocks)
    abort = next(i for b in blocks for i in b.get("elements", ()) if i.get("action_id", "").startswith("muster.drill_abort"))
    assert "confirm" in abort


def test_the_plan_reads_as_designed() -> None:
    """What, how risky, from what to what, what it brings, when it ends, what it costs, what was checked; then Run it."""
    view = draw_view(gallery.plan_dialog(parameters={"replicas": gallery.COUNT}, values={"replicas": 4}))
    assert view["submit"]["text"] == "Run it"
    assert lines(view["blocks"]) == [
        "SEV2 · INC-42 · Model answers are slow",
        "*Scale the inference pool out*\nLow risk (R1) · no approval needed",
        "`inference/reranker-v3`, production: *2 → 4 replicas*",
        "Replicas",
        "Should bring p99 under 0.5 s within 5 min. Watched; if it does not, you are asked.",
        "Ends 14:08, reminder 13:53. Undo at any time: back to 2 replicas.",
        "Cost 6.20 USD an hour. No effect on quality or latency.",
        "Checks: CPU 96 % is over 80 % · nobody else is changing it · last scaled 3 d ago",
    ]
    replicas = next(block["element"] for block in view["blocks"] if block["type"] == "input")
    assert (replicas["initial_value"], replicas["min_value"], replicas["max_value"]) == ("4", "2", "12")


def test_a_refused_plan_has_no_submit_button() -> None:
    """The reason stands in its place, and no field asks for what cannot be sent."""
    view = draw_view(gallery.plan_dialog(refusal="CPU is 41 %; it must be over 80 %.", parameters={"replicas": gallery.COUNT}))
    assert "submit" not in view
    assert not [block for block in view["blocks"] if block["type"] == "input"]
    assert "*Cannot run now.* CPU is 41 %; it must be over 80 %." in lines(view["blocks"])


@pytest.mark.parametrize(
    ("approvals", "approvers", "label"),
    [
        (0, "", "Run it"),
        (1, "ml-platform", "Ask @ml-platform"),
        (1, "Ben Okafor", "Ask Ben Okafor"),
        (1, "", "Ask for approval"),
        (1, "nobody", "Ask for approval"),
        (2, "ml-platform, security", "Ask for approval"),
        (1, "a-team-with-a-very-long-name", "Ask for approval"),
    ],
)
def test_the_button_says_whom_it_asks(approvals: int, approvers: str, label: str) -> None:
    """As far as 24 characters allow."""
    assert draw_view(gallery.plan_dialog(approvals=approvals, approvers=approvers))["submit"]["text"] == label


def test_an_approval_request_offers_three_ways_until_it_is_decided() -> None:
    """Approve and Decline are bound to the plan's hash; once decided no button is left."""
    asked = draw(gallery.approval())
    assert kinds(asked.blocks) == [PressKind.APPROVE, PressKind.DECLINE, PressKind.CANCEL]
    approve = next(item for block in asked.blocks for item in block.get("elements", ()) if "approve" in item.get("action_id", ""))
    assert intents.decode(approve["action_id"], approve["value"]).plan_hash == gallery.plan().hash
    assert "approval wanted" in asked.text
    assert "until 10:23 UTC" in asked.text
    decided = draw(gallery.approval(decided="Approved by Ben Okafor at 10:10 UTC"))
    assert kinds(decided.blocks) == []
    assert "*Approved by Ben Okafor at 10:10.*" in lines(decided.blocks)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (RunState.PLANNED, "is planned by <@U0ANA>; not confirmed yet."),
        (RunState.AWAITING_APPROVAL, "waits for approval (1 of 1), until 10:23, asked by <@U0ANA>."),
        (RunState.RUNNING, "reranker-v3 2 → 4 replicas, running by <@U0ANA> since 10:08."),
        (
            RunState.VERIFYING,
            "reranker-v3 2 → 4 replicas by <@U0ANA> 10:08. Watching p99 latency: 1.9 s → 0.9 s (wanted < 0.5 s), held 1 min of 2 min.",
        ),
        (RunState.VERIFIED, "verified 10:11: reranker-v3 2 → 4 replicas, p99 latency 1.9 s → 0.31 s. Ends 14:08."),
        (RunState.FAILED, "did not help 10:11: p99 stayed over 0.5 s for 5 min."),
        (RunState.REFUSED, "was not run: ben is rolling back reranker-v3 since 10:07."),
        (RunState.UNDONE, "undone 10:14: reranker-v3 4 → 2 replicas."),
        (RunState.UNKNOWN, "has an unknown outcome: Muster is looking at what happened."),
    ],
)
def test_a_run_is_one_line_on_the_card(state: RunState, said: str) -> None:
    """Where it stands, by whom, with the measured values before and after."""
    assert f"*Scale the inference pool out* {said}" in lines(draw(gallery.card(runs=(gallery.line(state),))).blocks)


@pytest.mark.parametrize(
    ("state", "reason", "said"),
    [
        (RunState.CANCELLED, "Cancelled by Ana Silva; nothing was changed.", "was cancelled by Ana Silva; nothing was changed."),
        (RunState.CANCELLED, "Planned anew with other parameters.", "was cancelled: Planned anew with other parameters."),
        (RunState.REFUSED, "Not run: INC-42 is resolved.", "was not run: INC-42 is resolved."),
    ],
)
def test_a_reason_does_not_say_again_what_stands_before_it(state: RunState, reason: str, said: str) -> None:
    """A run that was cancelled or refused says so once."""
    line = gallery.line(state, verdict_reason="", undo_reason="", reason=reason)
    assert f"*Scale the inference pool out* {said}" in lines(draw(gallery.card(runs=(line,))).blocks)


def test_a_run_without_measurements_says_so() -> None:
    """Missing data is never shown as a number."""
    line = gallery.line(RunState.VERIFYING, samples=(), value_before=None)
    assert "Watching, no measurement yet." in json.dumps(draw(gallery.card(runs=(line,))).blocks)
    unkept = gallery.line(RunState.VERIFIED, value_before=None, value_after=None)
    assert "measured value not kept" in json.dumps(draw(gallery.card(runs=(unkept,))).blocks)


def test_what_changes_production_or_pages_asks_once_more() -> None:
    """Undo, Revert now and Escalate name their effect before they count."""
    screen = RunMessage(incident=gallery.incident(), line=gallery.line(RunState.VERIFIED), text="x", buttons=gallery.EVERY_BUTTON)
    asked = {i["text"]["text"] for b in draw(screen).blocks for i in b.get("elements", ()) if "confirm" in i}
    assert asked == {"Undo", "Escalate"}


def test_a_refusal_may_offer_the_current_plan() -> None:
    """What can be done instead is a button."""
    offered = draw(Refusal(text="Old button.", incident_id=42, step="scale-out", offer="plan"))
    assert kinds(offered.blocks) == [PressKind.PLAN]
    assert kinds(draw(Refusal(text="Resolved.", incident_id=42, offer="timeline")).blocks) == []


def test_an_empty_home_says_something_useful() -> None:
    """No empty heading is left alone; somebody unknown learns whom to ask."""
    home = lines(draw_home(HomeScreen(person=gallery.ANA, drawn_at=NOW))["blocks"])
    assert "Nothing waits for you." in home
    assert "No drill is planned." in home
    assert any("declare one" in line for line in home)
    unknown = lines(draw_home(HomeScreen(person=None, drawn_at=NOW))["blocks"])
    assert any("does not know who you are" in line for line in unknown)


def test_fields_keep_only_what_slack_takes() -> None:
    """A value out of bounds is not filled in, a choice too long is counted, whole numbers stay whole."""
    block = forms.parameter_input("replicas", gallery.COUNT, 99).to_dict()
    assert "initial_value" not in block["element"]
    long = Parameter.model_validate({"type": "choice", "title": "Route", "choices": ("a", "b" * 200)})
    block = forms.parameter_input("route", long, "a").to_dict()
    assert [option["value"] for option in block["element"]["options"]] == ['"a"']
    assert block["hint"]["text"] == "1 more cannot be shown here."
    fraction = Parameter.model_validate({"type": "integer", "title": "N", "minimum": 1.5, "maximum": 3.5})
    element = forms.parameter_input("n", fraction, 2).to_dict()["element"]
    assert (element["min_value"], element["max_value"], element["initial_value"]) == ("2", "3", "2")
    huge = Parameter.model_validate({"type": "number", "title": "N", "maximum": 1e15})
    assert forms.parameter_input("n", huge, 1e15).to_dict()["element"]["max_value"] == "1000000000000000"


def test_app_home_begins_with_what_runs_by_itself() -> None:
    """First that all is paused, then what counts down with who, what, when and Stop, then what is proposed, then what waits."""
    screen = next(one for one in gallery.homes() if one.pause)
    drawn = draw_home(screen)["blocks"]
    assert lines(drawn)[:9] == [
        "All actions are paused",
        (
            "By Eve <!here>, since 10:05: A rollback <!channel> went wrong. Nothing runs until an admin types `/muster resume`. "
            "Pages still go out."
        ),
        "Runs by itself unless stopped",
        (
            "*INC-42* Model answers are slow\nMuster proposes *Scale the inference pool out*: p99 is 3.1 s, 24 % above the hour before.\n"
            "Would change inference/reranker-v3 2 → 4 replicas. Runs at *10:10:00* unless somebody stops it."
        ),
        "[Stop] [Run now]",
        "Proposed",
        (
            "*INC-42* Model answers are slow\nclaude, a machine for which Ana Reyes answers, proposes *Scale the inference pool out*: "
            "p99 is 3.1 s, 24 % above the hour before.\nWould change inference/reranker-v3 2 → 4 replicas."
        ),
        "[Look at the plan…] [Not now]",
        (
            "*DRILL* · *INC-43* Model answers are slow\nMuster proposes *Scale the inference pool out*: p99 is 3.1 s, 24 % above the hour "
            "before.\nStopped by Ben Okafor at 10:07."
        ),
    ]
    assert kinds(drawn) == [
        *(PressKind.PROPOSED_STOP, PressKind.PROPOSED_RUN, PressKind.PROPOSED_LOOK, PressKind.NOT_NOW),
        *(PressKind.RESET, PressKind.DECLARE),
    ]
    assert "*Scale the inference pool out*, since 09:28" in "\n".join(lines(drawn))


def test_back_in_service_no_longer_says_out_of_service() -> None:
    """The message of an action that was put back says who did it and why, and nothing that is no longer so."""
    drawn = draw(next(one for one in gallery.messages() if isinstance(one, BreakerNotice) and one.decided))
    whole = "\n".join([drawn.text, *lines(drawn.blocks)])
    assert whole.count("Back in service") == 2
    assert "Put back by Ana Reyes: the quota was too small." in whole
    assert not re.search(r"is out of service|Nobody can run", whole)
    assert kinds(drawn.blocks) == []


def test_what_was_stopped_is_not_told_like_what_was_done() -> None:
    """A proposal of which nothing came says who stopped it and shows no change; one that began says what it changes."""
    ended = {
        state: [
            *lines(
                draw(ProposalMessage(incident=gallery.incident(), shown=gallery.proposal(state, outcome="It is over."))).blocks,
            )
        ]
        for state in (SuggestionState.STOPPED, SuggestionState.BEGUN)
    }
    assert ended[SuggestionState.STOPPED][1:] == ["It is over."]
    assert ended[SuggestionState.BEGUN][1:] == ["inference/reranker-v3 2 → 4 replicas.", "It is over."]


def test_a_clean_up_that_is_over_asks_for_nothing() -> None:
    """Once its rollback was taken back, nothing is ticked, measured or pressed any more, and no time is told in which it was live."""
    over = next(one for one in gallery.messages() if isinstance(one, CleanUpMessage) and one.over)
    assert lines(draw(over).blocks) == ["Roll back the release was undone; there is nothing to clean up."]


@pytest.mark.parametrize(
    ("cost", "said"),
    [
        ({"money": "none", "quality": "none", "latency": "none"}, "Costs no money. No effect on quality or latency."),
        ({"money": "3 USD", "quality": "older answers", "latency": "none"}, "Cost 3 USD. Quality: older answers. No effect on latency."),
        ({"money": "none"}, "Costs no money."),
        ({}, ""),
    ],
)
def test_costs_are_said_in_words(cost: dict[str, str], said: str) -> None:
    """What an action does not touch is one short sentence, and never reads like no quality."""
    assert plans.costs(cost) == said


def test_a_decided_request_begins_with_the_decision() -> None:
    """What was decided stands right under the header, who asked below it, and nobody is asked to approve any more."""
    drawn = draw(gallery.approval(decided="Approved by Ben Okafor at 10:10"))
    shown = lines(drawn.blocks)
    assert shown[1:3] == ["*Approved by Ben Okafor at 10:10.*", "<@U0ANA> asked for it."]
    assert "must approve" not in "\n".join(shown)
    assert kinds(drawn.blocks) == []


def test_a_button_that_may_run_at_once_says_so() -> None:
    """Where a reason lets it run without approval, the dialog's button does not promise to ask only (rule S25)."""
    said = [
        draw_view(gallery.plan_dialog(approvals=1, approvers="ml-platform", break_glass=glass))["submit"]["text"] for glass in (True, False)
    ]
    assert said == ["Ask, or run with reason", "Ask @ml-platform"]


def test_a_digest_on_the_card_is_named_by_how_it_begins() -> None:
    """64 letters that nobody compares on a phone give way to the first sixteen."""
    whole = ":".join(["f0b9109d", "b23d6991", *(f"{number:08x}" for number in range(6))])
    shown = gallery.shown("Evidence kept", None, None, text=f"4 pieces, 73242 bytes, SHA-256 {whole}")
    said = "\n".join(lines(draw(gallery.card(diagnosis=(shown,))).blocks))
    assert "Evidence kept: 4 pieces, 73242 bytes, SHA-256 f0b9109d:b23d6991…" in said
    assert "00000000" not in said
