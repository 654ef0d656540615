"""The routes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from lunasec import AsyncLunaSec
from lunasec.fastapi import LunaSecDep, LunaSecRoute, install, showing

from .database import CustomerRow, OrderRow, opened
from .models import Customer, Listed, LogIn, NewCustomer, NewOrder, Order
from .sessions import COOKIE, Sessions

sessions = Sessions()
routes = APIRouter(route_class=LunaSecRoute)


async def database(request: Request) -> AsyncIterator[AsyncSession]:
    async with AsyncSession(request.app.state.engine, expire_on_commit=False) as session:
        yield session


Database = Annotated[AsyncSession, Depends(database)]
AGENT = [Depends(sessions.required)]


async def customer_of(number: int, database: Database) -> CustomerRow:
    row = await database.get(CustomerRow, number)
    if row is None:
        raise HTTPException(404, "there is no such customer")
    return row


Known = Annotated[CustomerRow, Depends(customer_of)]


@routes.post("/log-in")
async def log_in(log_in: LogIn, response: Response) -> dict[str, str]:
    response.set_cookie(COOKIE, sessions.begin(log_in.agent), httponly=True, samesite="strict")
    return {"hello": log_in.agent}


@routes.post("/log-out", dependencies=AGENT)
async def log_out(request: Request, lunasec: LunaSecDep) -> dict[str, bool]:
    await lunasec.revoke_all()
    sessions.end(request.cookies.get(COOKIE))
    return {"bye": True}


@routes.post("/customers", status_code=201, dependencies=AGENT)
async def create(customer: NewCustomer, database: Database) -> dict[str, int]:
    row = CustomerRow(name=customer.name, phone=customer.phone, card=customer.card)
    database.add(row)
    await database.commit()
    return {"id": row.id}


@routes.get("/customers", response_model=list[Listed], dependencies=[*AGENT, showing("mask")])
async def every(database: Database) -> Any:
    return (await database.scalars(select(CustomerRow).order_by(CustomerRow.id))).all()


@routes.get("/customers/{number}", response_model=Customer, dependencies=AGENT)
async def one(customer: Known) -> Any:
    return customer


@routes.post("/customers/{number}/orders", status_code=201, response_model=Order, dependencies=AGENT)
async def order(order: NewOrder, customer: Known, database: Database) -> Any:
    if order.card != customer.card:
        raise HTTPException(409, "this is another customer's card")
    row = OrderRow(customer_id=customer.id, paid_with=order.card, article=order.article)
    database.add(row)
    await database.commit()
    return row


@routes.delete("/customers/{number}", status_code=204, dependencies=AGENT)
async def forget(customer: Known, database: Database, lunasec: LunaSecDep) -> None:
    for item in await lunasec.delete([customer.name, customer.phone, customer.card]):
        if item.kind == "failed":
            raise item.error
    await database.execute(delete(OrderRow).where(OrderRow.customer_id == customer.id))
    await database.delete(customer)
    await database.commit()


def application(path: str, lunasec: AsyncLunaSec) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.engine = await opened(path)
        yield
        await app.state.engine.dispose()
        await lunasec.aclose()

    app = FastAPI(lifespan=lifespan)
    install(app, lunasec, session=sessions.of)
    app.include_router(routes)
    return app
