"""Preview: the shop page in each phase, for staff only and never purchasable."""

from __future__ import annotations

from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from flashdrop.languages import PARAMETER, supported
from orders.desk import scenes
from sales.desk.page import desk_page, frame
from sales.models import Sale

# The page inside the preview's frame is the one answer of the shop that may be framed, by the desk alone. It may talk
# to nobody and send no form, whatever its templates say.
FRAMED = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' https: data:; connect-src 'none'; script-src 'self'; style-src 'self'; "
        "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Frame-Options": "SAMEORIGIN",
}


@desk_page("desk:preview")
def preview(request: HttpRequest, sale: Sale) -> HttpResponse:
    """The frame around the previews: which phase, seen by whom, in which language, on a desktop and on a phone."""
    scene, viewer, language = _chosen(request)
    context = frame(
        request,
        "Preview",
        sale,
        tab="preview",
        scene=scene,
        viewer=viewer,
        language=language,
        scenes=[(one, _query(one.name, viewer.name, language)) for one in scenes.SCENES],
        viewers=[(one, _query(scene.name, one.name, language)) for one in scenes.VIEWERS],
        languages=[(code, name, _query(scene.name, viewer.name, code)) for code, name in settings.LANGUAGES],
        page_url=reverse("desk:preview_page", args=[sale.pk]) + _query(scene.name, viewer.name, language),
    )
    return render(request, "desk/preview.html", context)


@desk_page("desk:preview_page")
def preview_page(request: HttpRequest, sale: Sale) -> HttpResponse:
    """The shop page itself, as one scene and one viewer have it."""
    return HttpResponse(scenes.render(sale.settings(), *_chosen(request)), headers=FRAMED)


def _chosen(request: HttpRequest) -> tuple[scenes.Scene, scenes.Viewer, str]:
    asked = request.GET
    language = supported(asked.get(PARAMETER, "")) or settings.LANGUAGE_CODE
    return scenes.scene_named(asked.get("phase", "")), scenes.viewer_named(asked.get("viewer", "")), language


def _query(scene: str, viewer: str, language: str) -> str:
    return "?" + urlencode({"phase": scene, "viewer": viewer, PARAMETER: language})
