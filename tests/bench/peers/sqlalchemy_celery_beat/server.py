"""PUT /schedules/NAME makes or edits a schedule, by the models of sqlalchemy-celery-beat: `server.py PORT`."""

import asyncio
import json
import sys
from typing import Any

from beat import DATABASE
from sqlalchemy.orm import Session
from sqlalchemy_celery_beat.models import CrontabSchedule, IntervalSchedule, Period, PeriodicTask
from sqlalchemy_celery_beat.session import SessionManager, session_cleanup
from tornado.web import Application, RequestHandler

manager = SessionManager()


def _timing(session: Session, body: dict[str, Any]) -> Any:
    if body["cron"] is None:
        model, values = IntervalSchedule, {"every": body["every"], "period": Period.SECONDS}
    else:
        fields = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
        model, values = CrontabSchedule, dict(zip(fields, body["cron"].split()))
    found = session.query(model).filter_by(**values).first()
    if found is None:
        found = model(**values)
        session.add(found)
        session.commit()
    return found


class Schedules(RequestHandler):
    def put(self, name: str) -> None:
        body = json.loads(self.request.body)
        session = manager.session_factory(DATABASE)
        with session_cleanup(session):
            timing = _timing(session, body)
            task = session.query(PeriodicTask).filter_by(name=name).first()
            if task is None:
                task = PeriodicTask(name=name, task="nothing", args=json.dumps([name]))
            task.schedule_model = timing
            task.enabled = body["enabled"]
            session.add(task)
            session.commit()
        self.finish({"name": name})


async def main() -> None:
    Application([("/schedules/(.*)", Schedules)]).listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


asyncio.run(main())
