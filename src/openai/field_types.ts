/**
 * Kinds of fields: such as may be left out, such as ask for what hadal cannot do yet, which are refused by name, and
 * such as cannot change a reply, which are taken whatever they hold.
 * @module
 */
import { z } from "zod";
import { ranges } from "../engine/sampling_options.ts";

/** Null means the default, as in the API. */
export const optional = <T extends z.ZodType>(type: T) =>
  type.nullish().transform((value) => value ?? undefined);

/** True, false, or left out. */
export const flag = optional(z.boolean());

/** A number of the sampler, which also checks its range: here the range is only told. */
export const sampled = (name: keyof typeof ranges) => {
  const { least, most, whole } = ranges[name];
  const type: z.ZodType<number> = whole ? z.int() : z.number();
  return optional(type.meta({ minimum: least, maximum: most }));
};

/** The id of a token; how many there are the model says. */
export const tokenId = z.int().meta({ minimum: 0 });

/** A field that changes the answer in a way that hadal cannot do yet: only values that ask for nothing pass. */
export const notYet = (...asksNothing: unknown[]) =>
  optional(
    z.unknown().refine((value) => asksNothing.includes(value), "it is not supported yet")
      .meta({
        ...(asksNothing.length > 0 ? { enum: asksNothing } : { not: {} }),
        description: "Not supported yet",
      }),
  );

/** As `notYet`, of a list: an empty one asks for nothing. */
export const noItems = optional(z.array(z.unknown()).max(0, "it is not supported yet"));

/** A field that says nothing about the reply. */
export const harmless = optional(
  z.unknown().meta({ description: "Taken whatever it holds: it does not change the reply" }),
);
