"""The part of the Hugging Face Hub that holds models: commits of files, on the loopback."""

import base64
import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

TOKEN = "hf_written-in-a-test"


class Hub:
    """`commits` of a repository are folders of files, oldest first; only `TOKEN` may write or read what is private."""

    def __init__(self):
        self.commits = {}
        self.private = set()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def revision(self, repo, name):
        """(commit, files) of a branch or commit; None where there is none."""
        commits = self.commits[repo]
        if name == "main":
            return commits[-1] if commits else ("0" * 40, {})
        return next((commit for commit in commits if commit[0] == name), None)

    def commit(self, repo, files):
        """Add a commit in which these files are new."""
        before = self.commits[repo][-1][1] if self.commits[repo] else {}
        name = hashlib.sha1(f"{len(self.commits[repo])}{sorted(files)}".encode()).hexdigest()
        self.commits[repo].append((name, before | files))
        return name


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", **headers):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    @property
    def may_write(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.may_write:
            return self.answer(403, {"error": "no write access"})
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "repos"]:
            asked = json.loads(body)
            repo = f"{asked.get('organization') or 'owner'}/{asked['name']}"
            known = self.hub.commits.setdefault(repo, [])
            if asked.get("private"):
                self.hub.private.add(repo)
            return self.answer(409 if known else 200, {"url": f"{self.hub.url}/{repo}"})
        if parts[1] == "validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        repo = "/".join(parts[2:4])
        if parts[4] == "preupload":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": files})
        lines = [json.loads(line) for line in body.splitlines()]
        files = {
            line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines if line["key"] == "file"
        }
        name = self.hub.commit(repo, files)
        self.answer(200, {"success": True, "commitOid": name, "commitUrl": f"{self.hub.url}/{repo}/commit/{name}"})

    def do_GET(self):
        parts = self.path.partition("?")[0].strip("/").split("/")
        is_api = parts[:2] == ["api", "models"]
        repo = "/".join(parts[2:4] if is_api else parts[:2])
        if repo not in self.hub.commits or (repo in self.hub.private and not self.may_write):
            return self.answer(404, {"error": "not found"}, X_Error_Code="RepoNotFound")
        revision = (parts[5] if len(parts) > 5 else "main") if is_api else parts[3]
        found = self.hub.revision(repo, revision)
        if found is None:
            return self.answer(404, {"error": "no revision"}, X_Error_Code="RevisionNotFound")
        commit, files = found
        if is_api:
            if len(parts) > 4 and parts[4] == "tree":
                tree = [
                    {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                    for name, content in files.items()
                ]
                return self.answer(200, tree)
            siblings = [{"rfilename": name} for name in files]
            return self.answer(200, {"id": repo, "sha": commit, "siblings": siblings, "tags": [], "private": False})
        content = files.get("/".join(parts[4:]))
        if content is None:
            return self.answer(404, {"error": "no file"}, X_Error_Code="EntryNotFound")
        self.answer(200, content, ETag=f'"{hashlib.sha1(content).hexdigest()}"', X_Repo_Commit=commit)

    do_HEAD = do_GET
