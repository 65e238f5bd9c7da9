# People over HTTP. docs/serve.md has the same steps, and how the image is built and run.
FROM python:3.11-slim

RUN useradd --create-home --uid 1000 openpaf
USER 1000
WORKDIR /home/openpaf
COPY --chown=1000 . .

RUN python -m venv .venv
RUN .venv/bin/pip install --no-cache-dir -c constraints.txt '.[serve,openvino]'
RUN .venv/bin/openpaf predict data/photos/astronaut.jpg --output compiled

EXPOSE 8017
HEALTHCHECK --start-period=120s CMD [".venv/bin/python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8017/health', timeout=5)"]
CMD [".venv/bin/openpaf", "serve", "--host", "0.0.0.0"]
