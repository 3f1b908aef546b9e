"""Django's contrib apps: users, groups, permissions, sessions, sites and the log of the admin."""

from __future__ import annotations

import sys
from typing import Any

from tests.adoption.programs.loop import serve
from tests.adoption.programs.project import analyze, configure, looked_at, migrate

configure(
    sys.argv[1],
    [f"django.contrib.{app}" for app in ("admin", "auth", "contenttypes", "sessions", "messages", "sites")],
)

from django.contrib.admin.models import CHANGE, LogEntry  # noqa: E402  models exist once there are settings
from django.contrib.auth import authenticate  # noqa: E402
from django.contrib.auth.models import Group, Permission, User  # noqa: E402
from django.contrib.contenttypes.models import ContentType  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.contrib.sessions.models import Session  # noqa: E402
from django.contrib.sites.models import Site  # noqa: E402
from django.db import IntegrityError, connection, transaction  # noqa: E402
from django.db.models import Count, F  # noqa: E402


def seed() -> None:
    """What is there before anybody hears of pgsync."""
    editors = Group.objects.create(name="seed-editors")
    editors.permissions.set(Permission.objects.filter(content_type__app_label="auth"))
    User.objects.bulk_create(User(username=f"seed-{n}", email=f"{n}@example.org", password="!") for n in range(200))
    ada = User.objects.create_user("seed-ada", "ada@example.org", "a secret")
    ada.groups.add(editors)
    session = SessionStore()
    session["seen"] = ["seed"]
    session.save()
    LogEntry.objects.log_actions(ada.pk, [editors], CHANGE, "seed", single_object=True)
    analyze()


def look() -> list[Any]:
    """Queries as an application has them, their rows and plans."""
    users = User.objects.filter(username__startswith="seed-")
    return looked_at(
        [
            User.objects.filter(username="seed-ada").values("pk", "email", "date_joined"),
            users.order_by("-username")[:20].values_list("username"),
            users.filter(email__icontains="9@example").order_by("pk").values_list("username", "is_staff"),
            users.filter(groups__name="seed-editors").values_list("username", "groups__name"),
            users.values("is_active").annotate(n=Count("pk")),
            Permission.objects.filter(group__user__username="seed-ada").order_by("codename").values_list("codename"),
            Permission.objects.filter(content_type__in=ContentType.objects.filter(app_label="auth")).values_list("pk"),
            Session.objects.filter(expire_date__gt="2020-01-01T00:00:00Z").values("session_data"),
            LogEntry.objects.filter(user__username="seed-ada").values("object_repr", "action_flag", "change_message"),
        ]
    )


def exercise() -> list[Any]:
    """What an application does in a day; it leaves nothing behind. Says what it was told on the way."""
    said: list[Any] = []
    with transaction.atomic():
        group = Group.objects.create(name="works")
        user = User.objects.create_user("works", "works@example.org", "first")
        user.groups.add(group)
        user.user_permissions.set(Permission.objects.filter(codename__startswith="add_"))
    said.append(sorted(User.objects.get(username="works").get_all_permissions()))
    said.append(authenticate(username="works", password="first") == user)
    user.set_password("second")
    user.save()
    said.append(authenticate(username="works", password="first"))
    try:
        with transaction.atomic():
            User.objects.create_user("works")
    except IntegrityError as error:
        said.append(str(error))
    with transaction.atomic():
        locked = User.objects.select_for_update(of=("self",)).select_related().get(username="works")
        said.append(User.objects.filter(pk=locked.pk).update(last_name=F("username")))
    said.append(User.objects.update_or_create(username="works", defaults={"first_name": "W"})[1])
    made = User.objects.bulk_create(
        [User(username="works", email="again@example.org"), User(username="works-2")],
        update_conflicts=True,
        unique_fields=["username"],
        update_fields=["email"],
    )
    said.append(
        [(made.username, made.email) for made in User.objects.filter(pk__in=[m.pk for m in made]).order_by("pk")]
    )
    session = SessionStore()
    session["user"] = "works"
    session.save()
    session.cycle_key()
    said.append(SessionStore(session.session_key).load())
    session.delete()
    with connection.cursor() as cursor:
        with cursor.copy("COPY django_site (domain, name) FROM STDIN") as copy:
            copy.write_row(("works.example.org", "copied"))
        cursor.execute("SELECT has_table_privilege('auth_user', 'TRUNCATE'), current_setting('search_path')")
        said.append(cursor.fetchone())
    said.append(Site.objects.filter(name="copied").delete())
    said.append([User.objects.filter(username__startswith="works").delete(), group.delete()])
    return said


def write(marker: str) -> None:
    """Rows that live clients are to hear of."""
    user = User.objects.create_user(f"{marker}-orm", f"{marker}@example.org")
    user.first_name = marker
    user.save()


def find(marker: str) -> list[Any]:
    """What others wrote, as the application sees it."""
    return sorted([group.name for group in Group.objects.filter(name__startswith=marker)])


if __name__ == "__main__":
    serve(migrate=migrate, seed=seed, look=look, exercise=exercise, write=write, find=find)
