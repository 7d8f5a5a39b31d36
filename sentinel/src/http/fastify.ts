// The web framework of the sentinel. The only file that imports it.
import Fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify';

export { Fastify, type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest };
