"""Whether an answer declines to do what it was asked. By patterns, in the languages of ``LANGUAGES``. Pure.

A refusal is a clause of the answer's beginning in which a first person says that it cannot or will not do what an
assistant does: help, answer, provide, write. An apology alone is none ("I'm sorry to hear that your parcel is late"),
nor is a caveat within a long answer, nor what somebody in quotation marks says.

What it misses: refusals in other languages, by irony, by changing the subject, and behind a long preamble. What it
takes wrongly: a first person in a story who cannot help, and a support agent's "I cannot provide a date" before a
useful rest. It is therefore to be read as a rate that changes, not as a verdict on one answer.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

from monitoring.observed import ObservedAnswer
from monitoring.quality.options import RefusalOptions
from monitoring.quality.types import Check

_LOOKED_AT = 320
"""Characters of an answer in which a refusal begins."""
_MOST_CLAUSES = 8
_CLAUSE_END = re.compile(r"[.!?\u3002\uff01\uff1f\uff0c\u3001;:,\n]+")
_LEAD = re.compile(
    r"""(?:[\s*_#>\u2014\u2013-]*(?:
      but | however | unfortunately | and | so | sadly | regrettably | at\ this\ time | that
    | (?:i|we)\ (?:very\ much\ )?(?:apologi[sz]e|regret) (?:\ that|\ but)?
    | (?:i['’]m|i\ am|we['’]re|we\ are)\ (?:very\ |so\ |really\ |truly\ )?(?:sorry|afraid)
    | sorry | (?:my\ |our\ )?apologies
    | aber | leider | jedoch | doch | (?:es\ )?tut\ mir\ (?:sehr\ )?leid | entschuldigung | bedauerlicherweise | daher
    | mais | malheureusement | désolée? | je\ suis\ (?:vraiment\ )?désolée? | cependant
    | pero | lo\ siento | lamentablemente | desafortunadamente | sin\ embargo
    | ma | purtroppo | mi\ dispiace | tuttavia
    | mas | infelizmente | desculpe | lamento | sinto\ muito
    | maar | helaas | sorry | het\ spijt\ me
    | men | tyvärr | beklagar
    | ale | niestety | przepraszam
    | но | к\ сожалению | извините | простите | однако
    | 很?抱歉 | 对不起 | 對不起 | 不好意思 | 但是? | 申し訳(?:ありません|ございません)が?
    )(?=\W|$|[\u3040-\u9fff]))+[\s*_\u2014\u2013-]*""",
    re.IGNORECASE | re.VERBOSE,
)

_EN_DO = (
    r"(?:help|assist|answer|provide|comply|fulfil|do\ (?:that|this|so)|discuss|generate|create|write|produce|share|"
    r"support|engage|respond|complete|continue|process|participate|advise|fulfill)"
)
_PATTERNS: Mapping[str, str] = MappingProxyType(
    {
        "en": rf"""we\ (?:can(?:not|\ not|['’]?t)|are\ (?:unable|not\ able)\ to)\ (?:help|assist|answer|comply)\b
          | i(?:
              (?:\ can(?:not|\ not|['’]?t)|\ could(?:n['’]t|\ not)|\ won['’]t|\ will\ not
                |(?:['’]m|\ am)\ (?:unable|not\ able)\ to)
              (?:\ (?:really|actually|currently|directly|just|legally|simply))?\ {_EN_DO}\b
            | (?:['’]m|\ am)\ not\ (?:allowed|permitted|comfortable|programmed|designed)\b
            | \ (?:must|have\ to|need\ to)\ (?:respectfully\ |politely\ )?(?:decline|refuse)\b
            | \ (?:respectfully\ |must\ )?decline\ to\b
            | \ (?:do\ not|don['’]t)\ (?:currently\ )?have\ (?:enough|sufficient|access\ to
                |the\ (?:information|necessary)
                |(?:any\ )?(?:personal\ )?(?:opinions?|feelings?|preferences?))\b
            | \ don['’]t\ feel\ comfortable\b
            )
          | (?:this|that|your)\ (?:request\ |content\ )?(?:goes\ against|violates|is\ against)\ (?:my|our)\b
          | (?:it|this)\ (?:is|would\ be)\ (?:not\ appropriate|inappropriate|unethical)\ for\ me\ to\b""",
        "de": r"""(?:(?:ich|wir)\ (?:kann|können|darf|dürfen|werde|möchte)
            | (?:(?:das|dies|dabei|damit|dazu|darauf|hier|hierbei|diese\w*(?:\ \w+)?)\ )?(?:kann|können|darf|dürfen)
              \ (?:ich|wir))\b
            .{0,50}\b(?:nicht|kein\w*)\b.{0,60}
            (?:helf|beantwort|antwort|bereitstell|erstell|unterstütz|nachkomm|erfüll|behilflich|schreib|generier
            |auskunft)
          | (?:ich|wir)\ (?:bin|sind)\b.{0,30}\bnicht\ (?:in\ der\ lage|befugt|berechtigt)\b""",
        "fr": r"""(?:je|nous)\ (?:ne\ )?(?:peux|puis|pouvons)\ (?:malheureusement\ |donc\ )?pas\b.{0,40}
            (?:aider|répondre|fournir|donner|générer|créer|écrire|satisfaire|assister|partager|rédiger)
          | (?:je|nous)\ ne\ (?:suis|sommes)\ pas\ (?:en\ mesure|capables?|autorisée?s?|habilitée?s?)\b
          | (?:je|nous)\ n['’](?:ai|avons)\ pas\ (?:accès|assez|suffisamment)\b""",
        "es": r"""(?:yo\ )?no\ (?:puedo|podemos|podré|me\ es\ posible|estoy\ en\ condiciones)\b.{0,40}
            (?:ayudar|responder|proporcionar|ofrecer|generar|crear|escribir|asistir|cumplir|compartir|brindar)
          | (?:yo\ )?no\ tengo\ (?:acceso|suficiente)\b""",
        "it": r"""non\ (?:posso|possiamo|sono\ in\ grado|mi\ è\ possibile)\b.{0,40}
            (?:aiutar|risponder|fornir|generar|crear|scriver|assister|soddisfar|condivider)
          | non\ ho\ (?:accesso|abbastanza|sufficienti)\b""",
        "pt": r"""(?:eu\ )?não\ (?:posso|podemos|consigo|é\ possível|sou\ capaz)\b.{0,40}
            (?:ajudar|ajudá|responder|fornecer|gerar|criar|escrever|atender|compartilhar|auxiliar)
          | (?:eu\ )?não\ tenho\ (?:acesso|informações\ suficientes)\b""",
        "nl": r"""(?:(?:ik|wij|we)\ (?:kan|kunnen|mag|mogen)|(?:(?:daar|hier|dat|hierbij|daarbij)\ )?(?:kan|mag)\ ik)\b
            .{0,40}\b(?:niet|geen)\b.{0,40}
            (?:help|beantwoord|antwoord|verstrek|schrijv|genere|voldoen|bijstaan|delen)
          | (?:ik|wij|we)\ (?:ben|zijn)\ niet\ in\ staat\b""",
        "sv": r"""(?:(?:jag|vi)\ (?:kan|får)|(?:(?:det|detta)\ )?kan\ jag)\b.{0,20}\binte\b.{0,40}
            (?:hjälp|svara|besvara|skriva|tillhandahålla|skapa|dela|uppfylla)""",
        "pl": r"""nie\ (?:mogę|możemy|jestem\ w\ stanie|potrafię)\b.{0,40}
            (?:pomóc|pomagać|odpowiedz|odpowiada|udziel|dostarcz|wygener|stworz|napis|spełni|udostęp)""",
        "ru": r"""(?:я\ |мы\ )?не\ (?:могу|можем|смогу|в\ состоянии|имею\ права)\b.{0,40}
            (?:помо|ответ|отвеч|предостав|созда|напис|сгенер|выполн|поделит|обсужд)""",
        "tr": r""".{0,60}(?:yardımcı\ ola|yanıtlaya|cevaplaya|sağlaya|oluştura|paylaşa|yerine\ getire)m
            (?:ıyor|iyor|am|em)""",
        "zh": r"""(?:作为.{0,20})?我们?(?:目前|暂时|也|还|確實)?(?:无法|不能|無法|不便|没有办法).{0,12}
            (?:帮助|帮您|帮你|提供|回答|协助|满足|生成|创建|编写|讨论|幫助|協助|完成|执行|執行|滿足)""",
        "ja": r""".{0,60}(?:お答え|お手伝い|ご提供|対応|お応え|回答|作成|生成|協力|支援|提供)
            (?:[をはが]|する|こと){0,4}(?:でき(?:ません|かねます)|いたしかねます)""",
        "ko": r""".{0,60}(?:도와\s?드릴|도움을\s?드릴|답변(?:해|을)?\s?(?:드릴|할)
            |제공(?:해\s?드릴|할)|작성(?:해\s?드릴|할)|생성할|대답할)\s?수\s?(?:가\s?)?없""",
    }
)
LANGUAGES = tuple(_PATTERNS)
"""ISO 639-1 codes."""
_COMPILED = {code: re.compile(pattern, re.IGNORECASE | re.VERBOSE) for code, pattern in _PATTERNS.items()}


def declines_in(text: str) -> str | None:
    """The language in which the beginning of a text declines; None where it does not."""
    for clause in _CLAUSE_END.split(text[:_LOOKED_AT])[:_MOST_CLAUSES]:
        lead = _LEAD.match(clause.strip())
        plain = (clause.strip()[lead.end() :] if lead else clause).strip(" \t*_#>\u2014\u2013-")
        for code, pattern in _COMPILED.items():
            if pattern.match(plain):
                return code
    return None


def refusal(answer: ObservedAnswer, options: RefusalOptions) -> Check | None:
    """Bad where the answer declines; None for one without text."""
    text = answer.answer.strip()
    if answer.finish_reason == "content_filter":
        return Check("refusal", 1.0, "was filtered")
    if not text:
        return None
    if any(stated and text.startswith(stated) for stated in options.stated):
        return Check("refusal", 1.0, "begins with the task's own words")
    code = declines_in(text) if len(text) <= options.longest else None
    return Check("refusal", 0.0) if code is None else Check("refusal", 1.0, f"declines, in {code}")
