# The API, the worker and the command line in one image; what runs is the command.
FROM python:3.11-slim AS packages
COPY requirements.lock /tmp/
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --require-hashes -r /tmp/requirements.lock

FROM python:3.11-slim
RUN useradd --system --uid 10001 --create-home nija && install -d -o nija -m 0700 /exports
COPY --from=packages /venv /venv
WORKDIR /app
COPY --chown=root:root . .
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 NIJA_DATA_DIR=/home/nija/data
USER nija
ENTRYPOINT ["python", "-m"]
CMD ["api.main"]
