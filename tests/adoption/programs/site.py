"""Wagtail: a content management system with a tree of pages, revisions, collections, redirects and a search index."""

from __future__ import annotations

import sys
from typing import Any

from tests.adoption.programs.loop import serve
from tests.adoption.programs.project import analyze, configure, looked_at, migrate

WAGTAIL = ("contrib.forms", "contrib.redirects", "embeds", "sites", "users", "snippets", "documents", "images")
configure(
    sys.argv[1],
    [
        *(f"wagtail.{app}" for app in (*WAGTAIL, "search", "admin")),
        "wagtail",
        "modelcluster",
        "taggit",
        *(f"django.contrib.{app}" for app in ("auth", "contenttypes", "sessions", "messages", "staticfiles")),
    ],
    ROOT_URLCONF="wagtail.urls",
    STATIC_URL="/static/",
    WAGTAILREDIRECTS_AUTO_CREATE=False,
    WAGTAIL_SITE_NAME="A site",
    WAGTAILADMIN_BASE_URL="http://localhost",
)

from django.contrib.auth.models import User  # noqa: E402  models exist once there are settings
from taggit.models import Tag  # noqa: E402
from wagtail.contrib.redirects.models import Redirect  # noqa: E402
from wagtail.models import Collection, Page, PageLogEntry, Revision, Site  # noqa: E402


def _home() -> Page:
    return Site.objects.get(is_default_site=True).root_page


def seed() -> None:
    """A small site, with drafts, revisions and redirects."""
    editor = User.objects.create_superuser("seed-editor", "editor@example.org", "!")
    for n in range(10):
        page = _home().add_child(instance=Page(title=f"Seed {n}", slug=f"seed-{n}", live=n % 2 == 0, owner=editor))
        page.title += "!"
        page.save_revision(user=editor).publish() if n % 3 else page.save_revision(user=editor)
        Redirect.add_redirect(f"/seed-{n}", page)
    Collection.get_first_root_node().add_child(name="Seed")
    Tag.objects.create(name="seed")
    analyze()


def look() -> list[Any]:
    """Queries as a site has them, their rows and plans."""
    pages = Page.objects.filter(slug__startswith="seed-")
    return looked_at(
        [
            pages.live().order_by("path").values_list("path", "title", "numchild"),
            Page.objects.child_of(_home()).filter(slug="seed-3").values("title", "draft_title", "content_type__model"),
            pages.filter(owner__username="seed-editor", has_unpublished_changes=True).values_list("slug"),
            Revision.objects.filter(user__username="seed-editor")
            .order_by("pk")
            .values_list("object_id", "content__slug"),
            Redirect.objects.filter(old_path="/seed-4").select_related("redirect_page").values("redirect_page__slug"),
            PageLogEntry.objects.filter(page__slug="seed-1").order_by("pk").values_list("action", "label"),
            Collection.objects.filter(name="Seed").values("path", "depth"),
            Tag.objects.filter(slug="seed").values("name"),
        ]
    )


def exercise() -> list[Any]:
    """What editors do in a day; it leaves nothing behind. Says what it was told on the way."""
    said: list[Any] = []
    page = _home().add_child(instance=Page(title="Works", slug="works"))
    for n in range(2):
        page.add_child(instance=Page(title=f"Below {n}", slug=f"below-{n}"))
    page.title = "Works still"
    page.save_revision().publish()
    page.refresh_from_db()
    said.append([page.title, page.numchild, page.url_path])
    copied = page.copy(recursive=True, update_attrs={"slug": "works-too", "title": "Copy"})
    copied.move(page, pos="first-child")
    said.append(list(page.get_descendants().values_list("title", "depth")))
    page.unpublish()
    said.append([found.title for found in Page.objects.live().search("Seed", order_by_relevance=False)])
    tag, made = Tag.objects.get_or_create(name="works")
    said.append([made, tag.slug, tag.delete()])
    page.refresh_from_db()
    page.delete()
    said.append(Page.objects.filter(title__in=["Works", "Works still", "Copy"]).count())
    said.append(_home().numchild)
    for entries in (PageLogEntry.objects.filter(label__in=["Works", "Works still", "Copy", "Below 0", "Below 1"]),):
        entries.delete()
    said.append([len(problems) for problems in Page.find_problems()])
    return said


def write(marker: str) -> None:
    """A tag that live clients are to hear of, twice."""
    tag = Tag.objects.create(name=f"{marker} own", slug=f"{marker}-own")
    tag.name = f"{marker} own, changed"
    tag.save()


def find(marker: str) -> list[Any]:
    """What others wrote, as the site sees it."""
    return sorted(tag.slug for tag in Tag.objects.filter(slug__startswith=marker))


if __name__ == "__main__":
    serve(migrate=migrate, seed=seed, look=look, exercise=exercise, write=write, find=find)
