# One image for every role; the command selects it: `sentinel`, `agent`, `up`, `chat`, `ps`. The image contains Node, the
# compiled sources and the packages that they need, without compiler, tests and package cache. It runs as an unprivileged user
# and writes only to /data and /tmp, so its root file system may be read-only. Base images are pinned by digest; Dependabot renews
# them. The image is built for linux/amd64 and linux/arm64 (.github/workflows/image.yml).

# The result contains no machine code, so it is built once, on the platform of the builder, and copied into every image.
FROM --platform=$BUILDPLATFORM node:24.19.0-slim@sha256:cd84903a12dbd26b46f1f3b8144a2568c41c5d37ddd0c7a80a34c7a19786b35f AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc tsconfig.base.json LICENSE ./
COPY shared/package.json shared/
COPY sentinel/package.json sentinel/
COPY agents/package.json agents/
COPY client/package.json client/
COPY doors/package.json doors/
COPY console/package.json console/
# No package needs its install script.
RUN npm ci --ignore-scripts
COPY shared shared
COPY sentinel sentinel
COPY agents agents
COPY client client
COPY doors doors
COPY console console
COPY bin bin
RUN node node_modules/typescript/bin/tsc -b bin && node bin/bundle.mjs
RUN node node_modules/vite/bin/vite.js build console
# npm installs packages that workspaces cannot share below their workspace, so the image copies all remaining folders.
RUN npm prune --omit=dev --ignore-scripts
# The base image has Node.
RUN rm -rf node_modules/node-linux-* node_modules/.bin/node
RUN mv bin/healthy healthy
RUN rm -rf */src */tsconfig.json console/index.html console/vite.config.ts bin tsconfig.base.json package-lock.json .npmrc
RUN mkdir ../data

FROM node:24.19.0-slim@sha256:cd84903a12dbd26b46f1f3b8144a2568c41c5d37ddd0c7a80a34c7a19786b35f
ARG VERSION=0.2.0
# The commit that the image was built from, and the URL of its repository.
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="Fame Fabric"
LABEL org.opencontainers.image.description="A networked agent fabric: agents find each other, call, stream, cancel and survive crashes."
LABEL org.opencontainers.image.licenses="Apache-2.0"
LABEL org.opencontainers.image.source="$SOURCE"
LABEL org.opencontainers.image.version="$VERSION"
LABEL org.opencontainers.image.revision="$REVISION"
ENV NODE_ENV=production FAME_DATA_DIR=/data FAME_HEALTH_FILE=/tmp/healthy
WORKDIR /app
COPY --from=build /app /app
COPY --from=build --chown=node:node /data /data
USER node
EXPOSE 8000
VOLUME /data
# Agents are healthy while they are served, a sentinel while it is ready.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["/app/healthy"]
ENTRYPOINT ["node", "--disable-warning=ExperimentalWarning", "/app/dist/fame.js"]
CMD ["help"]
