"""The most frequent function words of some languages; they tell languages of one script apart."""

from collections.abc import Mapping
from types import MappingProxyType


def _sets(words: dict[str, str]) -> Mapping[str, frozenset[str]]:
    return MappingProxyType({code: frozenset(line.split()) for code, line in words.items()})


LATIN = _sets(
    {
        "en": "the of and to in is that it for was with as be this are have not on at by from or an they which "
        "you were but has had their been will would there we your can what if when who do about than into "
        "its our my me i how so these them some could a he she his her also should may only after because "
        "more other up out",
        "de": "der die das und ist nicht ein eine einen einem einer mit sich auf für von dem den des im zu auch "
        "als an es sie wir ihr ich er wie aber oder wenn nur noch nach bei aus durch sind wird werden wurde "
        "haben hat kann können ihre ihrer dass zum zur über sein diese dieser bitte in war mehr vor um sehr "
        "hier vom",
        "fr": "le la les et est un une des du de que qui dans pour pas sur avec plus par au aux ce cette ces il "
        "elle nous vous ils sont être ont mais ou où ne se sa son ses leur votre notre je en y l d qu c n s "
        "j comme tout si peut très été fait à a elles sans bien aussi entre après depuis",
        "es": "el la los las y es un una de del que en por para con no se su sus lo al como más pero le ha este "
        "esta son fue ser está también si sin sobre entre cuando muy hay puede todo desde nos porque usted "
        "yo mi tiene donde a o ya hasta otros",
        "it": "il lo la i gli le e è un una di del della dei delle che in per con non si sono come più ma anche "
        "nel nella al alla questo questa ha dal dalla essere su sua suo loro ci se o può l d nostro ho ai "
        "degli cui tra stato molto a dopo alle dell nell quando",
        "pt": "o a os as e é um uma de do da dos das que em no na nos nas por para com não se seu sua ao à mais "
        "como mas foi ele ela são está ser tem também isso este esta pelo pela você já ou quando muito há "
        "pode até eu seus sem entre depois",
        "nl": "de het een en van is in op dat te niet zijn voor met die aan er ook als bij maar om uit naar dan "
        "nog door over wordt worden werd heeft hebben kan ik je wij we ze hij deze dit of wat zich u uw "
        "geen meer was zo kunnen moet onze",
        "sv": "och att det som en på är av för med den till inte har de ett om var jag han hon vi från men kan så "
        "när också eller ska efter vid dessa detta mycket sig din er ni finns blir under över utan alla i "
        "hade",
        "da": "og at det som en på er af for med den til ikke har de et om var jeg han hun vi fra men kan så når "
        "også eller skal efter ved disse dette meget sig din der blev bliver under over uden alle hvis hvor "
        "i",
        "no": "og at det som en på er av for med den til ikke har de et om var jeg han hun vi fra men kan så når "
        "også eller skal etter ved disse dette mye seg din der ble blir under over uten alle hvis hvor i",
        "fi": "ja on ei se että oli ovat hän mutta kun niin myös kuin tai joka jos ole sen olla tämä mitä voi "
        "jotka ne mukaan nyt vain sitä kanssa jälkeen ennen",
        "pl": "i w na z do nie się że jest to o jak ale po co za od dla przez są tak czy być który która które "
        "już tylko tym jego może ich oraz jako ma był była było pan ten tej tego przy pod można także a",
        "cs": "a v na se je že to s z do o i ale jako jsem jsou by byl byla bylo který která které pro po od "
        "podle také nebo není při jeho jen však tak už má být za ve k",
        "ro": "și în de la cu pe nu este sunt un o din că care pentru mai a al ale se sau dar fi au fost prin "
        "acest această lui ei ca după între poate când dacă am ai îi îl",
        "hu": "a az és hogy nem is egy van ez meg de csak már volt el ha mint kell vagy mert még azt lesz ki ezt "
        "lehet nagyon minden én ön után között által szerint",
        "tr": "ve bir bu için ile de da olarak çok daha gibi en o ne ama olan var değil sonra kadar her ki ben "
        "sen biz siz mi mı ise veya göre onun şey nasıl bunu olduğu yok",
        "id": "yang dan di dari untuk dengan ini itu pada tidak dalam adalah akan ke oleh juga saya anda atau ada "
        "telah dapat sebagai karena bisa kami mereka lebih sudah jika tersebut kita secara",
        "vi": "và của là có không được cho các trong với một những này người để khi đã cũng từ như về đến tôi bạn "
        "nhưng sẽ thì ra vào nhiều tại hoặc nếu",
    }
)
CYRILLIC = _sets(
    {
        "ru": "и в не на я что он с как это по но его к из у за от так же для вы мы был была было бы о все только "
        "если или они есть при может когда чтобы ее их также а после",
        "uk": "і в не на я що з та це як до у за він але від про для є його так ви ми був була було або які також "
        "при може коли щоб вона їх після якщо й",
        "bg": "и в на се да не за от е са по като с ще това че до но които или той тя има при беше може след как "
        "си му те ние вие",
    }
)
ARABIC = _sets(
    {
        "ar": "في من على إلى أن هذا هذه التي الذي لا ما هو هي عن مع كان كما قد أو بعد كل بين لم و ذلك",
        "fa": "و در به از که این را با است برای آن یک های می شود بر تا هم کرد شد خود",
        "ur": "کے میں کی ہے اور سے کا کو نے پر یہ کہ ہیں اس بھی ایک نہیں کر",
    }
)
DEVANAGARI = _sets(
    {
        "hi": "है के में की और से का को यह पर हैं नहीं एक भी इस लिए कि था या कर ने तो जो",
        "mr": "आहे आणि च्या या हे ते मध्ये नाही एक ही तो ती होते करून असे का",
    }
)
