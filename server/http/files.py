"""The files of pages, which have all that they need from this server alone."""

from collections.abc import Mapping

from tornado.web import HTTPError

from server.assets import Asset
from server.http.accept import takes_gzip
from server.http.context import Context
from server.http.handler import BaseHandler

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    # What is kept is asked for again: a new version is seen at once.
    "Cache-Control": "no-cache",
}


class AssetHandler(BaseHandler):
    """Base of the routes that answer with what is read, or made, once."""

    def finish_asset(self, asset: Asset) -> None:
        """Finish with it, packed where the client takes that, or with 304 where it has it."""
        for header, value in _HEADERS.items():
            self.set_header(header, value)
        self.vary_by("Accept-Encoding")
        packed = takes_gzip(",".join(self.request.headers.get_list("Accept-Encoding")))
        self.set_header("Etag", asset.packed_etag if packed else asset.etag)
        if self.check_etag_header():
            self.set_status(304)
            self.finish()
            return
        self.set_header("Content-Type", asset.kind)
        if packed:
            self.set_header("Content-Encoding", "gzip")
        self.finish(asset.packed if packed else asset.body)


class FileHandler(AssetHandler):
    """Base of the routes that answer with one of some files."""

    def initialize(self, context: Context, files: Mapping[str, Asset] | None = None) -> None:
        super().initialize(context)
        self._files = files or {}

    def get(self, name: str) -> None:
        asset = self._files.get(name)
        if asset is None:
            raise HTTPError(404, "There is nothing at this path.")
        self.finish_asset(asset)
