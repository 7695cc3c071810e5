"""A Django site with the help desk and what it needs. Where its database is comes from the environment."""
import os

VENDOR = os.environ["SYSTEM_VENDOR"]
ENGINE = {"postgres": "postgresql", "mysql": "mysql", "sqlite": "sqlite3"}[VENDOR]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends." + ENGINE,
        "NAME": os.environ["SYSTEM_NAME"],
        "USER": os.environ["SYSTEM_USER"],
        "HOST": os.environ["SYSTEM_HOST"],
        "PORT": os.environ["SYSTEM_PORT"],
        "OPTIONS": {"mysql": {"charset": "utf8mb4"}, "sqlite": {"timeout": 60}}.get(VENDOR, {}),
    }
}
if VENDOR == "mysql":
    import pymysql

    pymysql.version_info = (2, 2, 7, "final", 0)
    pymysql.install_as_MySQLdb()

SECRET_KEY = "only for tests" * 4
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
TIME_ZONE = "Europe/Berlin"
SITE_ID = 1
INSTALLED_APPS = [
    *("django.contrib." + app for app in "admin auth contenttypes sessions messages sites humanize staticfiles".split()),
    "bootstrap4form",
    "rest_framework",
    "helpdesk",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
CONTEXT = ["template.context_processors.request", "contrib.auth.context_processors.auth", "contrib.messages.context_processors.messages"]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django." + processor for processor in CONTEXT]},
    }
]
ROOT_URLCONF = "urls"
STATIC_URL = "/static/"
MEDIA_ROOT = os.environ["SYSTEM_FOLDER"] + "/media"
EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
LOGIN_URL = "helpdesk:login"
HELPDESK_TEAMS_MODE_ENABLED = False
