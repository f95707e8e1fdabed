"""Screens drawn as Block Kit: pure functions from `runbooks.screens` to what Slack takes.

`draw` for messages, `draw_view` for dialogs, `draw_home` for App Home. Everything from outside is escaped and cut here, once.
"""

from functools import singledispatch
from typing import Any

from bot.slack.cards import approval, breaker, cleanup, dialogs, drill, home, incident, notices, proposal, resolve, review, run
from bot.slack.cards.parts import Drawn
from runbooks import screens
from runbooks.value import Json

__all__ = ["Drawn", "draw", "draw_home", "draw_view"]


@singledispatch
def _draw(screen: Any) -> Drawn:
    raise TypeError(f"{type(screen).__name__} is not a message")


@singledispatch
def _draw_view(screen: Any) -> Json:
    return dialogs.sentence_view(_draw(screen))


def draw(screen: screens.Message) -> Drawn:
    """A message: `text` that stands alone, and blocks."""
    return _draw(screen)


def draw_view(screen: screens.Dialog | screens.Message) -> Json:
    """A dialog, as `views.open` takes it. A message becomes a small dialog that says the same."""
    return _draw_view(screen)


def draw_home(screen: screens.HomeScreen) -> Json:
    """One person's App Home, as `views.publish` takes it."""
    return home.home_view(screen)


_draw.register(screens.IncidentCard, incident.incident_card)
_draw.register(screens.ApprovalRequest, approval.approval_request)
_draw.register(screens.RunMessage, run.run_message)
_draw.register(screens.ProposalMessage, proposal.proposal_message)
_draw.register(screens.Refusal, notices.refusal)
_draw.register(screens.ResolvedMessage, resolve.resolved_message)
_draw.register(screens.MitigationNotice, resolve.mitigation_notice)
_draw.register(screens.CleanUpMessage, cleanup.cleanup_message)
_draw.register(screens.DrillInvitation, drill.drill_invitation)
_draw.register(screens.DrillReport, drill.drill_report)
_draw.register(screens.ReviewNotice, review.review_notice)
_draw.register(screens.BreakerNotice, breaker.breaker_notice)
_draw.register(screens.Notice, notices.notice)
_draw.register(screens.Page, notices.page)
_draw.register(screens.Welcome, notices.welcome)
_draw_view.register(screens.Loading, dialogs.loading)
_draw_view.register(screens.PlanDialog, dialogs.plan_dialog)
_draw_view.register(screens.MoreDialog, dialogs.more_dialog)
_draw_view.register(screens.MatchDialog, dialogs.match_dialog)
_draw_view.register(screens.SeverityDialog, dialogs.severity_dialog)
_draw_view.register(screens.NoteDialog, dialogs.note_dialog)
_draw_view.register(screens.DeclareDialog, dialogs.declare_dialog)
_draw_view.register(screens.ResolveDialog, dialogs.resolve_dialog)
_draw_view.register(screens.ExtendDialog, dialogs.extend_dialog)
_draw_view.register(screens.HandOverDialog, dialogs.hand_over_dialog)
_draw_view.register(screens.DrillMoveDialog, dialogs.drill_move_dialog)
_draw_view.register(screens.ResetDialog, breaker.reset_dialog)
