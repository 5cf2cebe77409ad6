"""Brands as files."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.brands import SELECT, BrandChange, NewBrand, add_brand, alter_brand
from gateway.configuration.kinds import Faults, Ground, Kind, Stored, Wanted, Work
from gateway.db.database import fetch_all
from gateway.runtime import Runtime
from gateway.security.scopes import Scope


class Brands(Kind[NewBrand]):
    """The names the company goes by. One that no file names stays: tickets belong to it."""

    folder = "brands"
    noun = "brand"
    Model = NewBrand
    scopes = (Scope.connections,)
    table = "brand"

    async def stored(self, connection: AsyncConnection, runtime: Runtime) -> list[Stored]:
        rows = await fetch_all(connection, f"{SELECT} ORDER BY name")
        return [
            Stored(row["name"], {name: row[name] for name in ("name", "timezone")}, row, row["timezone"])
            for row in rows
        ]

    async def want(
        self, given: NewBrand, file: str, stored: Stored | None, ground: Ground, faults: Faults
    ) -> Wanted[NewBrand]:
        return Wanted(given.name, file, given, given.model_dump(mode="json"))

    async def create(self, work: Work, wanted: Wanted[NewBrand]) -> None:
        await add_brand(work.connection, wanted.given, work.now)

    async def change(self, work: Work, stored: Stored, wanted: Wanted[NewBrand]) -> None:
        await alter_brand(work.connection, stored.id, BrandChange(timezone=wanted.given.timezone))
