# One image for worker, delivery, gateway, feed and twins. Kafka and registry have images of their own.
FROM python:3.12 AS build
WORKDIR /src
COPY locks/run.txt locks/run.txt
RUN python -m venv /opt/kounter \
    && /opt/kounter/bin/pip install --no-cache-dir --require-hashes -r locks/run.txt
COPY locks/dev.txt locks/dev.txt
RUN python -m venv /opt/build && /opt/build/bin/pip install --no-cache-dir --require-hashes -r locks/dev.txt
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY kounter kounter
COPY schemas schemas
COPY tables tables
COPY streams streams
COPY adapters adapters
RUN /opt/build/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir /src/dist . \
    && /opt/kounter/bin/pip install --no-cache-dir --no-deps /src/dist/*.whl

FROM python:3.12-slim
COPY --from=build /opt/kounter /opt/kounter
RUN useradd --create-home --uid 10001 kounter && mkdir /data && chown kounter /data
USER kounter
ENV PATH=/opt/kounter/bin:$PATH KOUNTER_DATA_DIR=/data PYTHONUNBUFFERED=1
VOLUME /data
ENTRYPOINT ["kounter"]
CMD ["--help"]
